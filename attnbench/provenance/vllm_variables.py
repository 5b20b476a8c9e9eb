"""Variables for vLLM that the installed vLLM does not have."""

from importlib.metadata import Distribution
from pathlib import Path

from attnbench.provenance.environment import Environment, read_component
from attnbench.provenance.packages import editable_directory, installed


def unread_variables(environment: Environment) -> str | None:
    """A remark on variables that its vLLM does not list, None if there are none.

    vLLM's engine warns of them (`validate_environ` of vllm/envs.py), but kernels run without one.
    Also None if this Python has another vLLM than the environment, or none.
    """
    given = [name for name in environment.variables if name.startswith("VLLM_")]
    vllm, here = environment.components.get("vllm"), installed("vllm")
    if not given or vllm is None or here is None or read_component("vllm") != vllm:
        return None
    listed = _variables(here)
    if not listed or not (unread := [name for name in given if f'"{name}"' not in listed]):
        return None
    return f"vLLM {vllm.version} has no variable {', '.join(unread)}: misspelt, or dropped?"


def _variables(vllm: Distribution) -> str:
    """The source of the module that lists them, empty if there is none."""
    folder = editable_directory("vllm") or Path(str(vllm.locate_file("")))
    try:
        return Path(folder, "vllm", "envs.py").read_text("utf-8", errors="replace")
    except OSError:
        return ""
