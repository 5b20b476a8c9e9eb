"""Variables for vLLM that the installed vLLM does not have."""

from pathlib import Path

from attnbench.provenance.environment import Environment, read_component
from attnbench.provenance.packages import editable_directory, installed, source_of


def unread_variables(environment: Environment) -> str | None:
    """A remark on variables that its vLLM does not list, None if there are none.

    vLLM's engine warns of them (`validate_environ` of vllm/envs.py), but kernels run without one.
    Also None if this Python has another vLLM than the environment, or none.
    """
    given = [name for name in environment.variables if name.startswith("VLLM_")]
    if not given or not (listed := _list_of_variables()):
        return None
    unread = [name for name in given if f'"{name}"' not in listed]
    vllm = environment.components.get("vllm")
    # Last, as it asks git about an editable install.
    if not unread or vllm is None or read_component("vllm") != vllm:
        return None
    return f"vLLM {vllm.version} has no variable {', '.join(unread)}: misspelt, or dropped?"


def _list_of_variables() -> str:
    """The source of this Python's vLLM that lists them, empty without one."""
    if (vllm := installed("vllm")) is None:
        return ""
    folder = editable_directory("vllm") or Path(str(vllm.locate_file("")))
    return source_of(folder / "vllm" / "envs.py")
