"""Variables for vLLM that the installed vLLM does not read."""

from pathlib import Path

from attnbench.provenance.environment import Environment
from attnbench.provenance.packages import editable_directory, installed


def unread_variables(environment: Environment) -> str | None:
    """A remark on variables that its vLLM does not know, None if there are none.

    vLLM's engine warns of them (`validate_environ` of vllm/envs.py), but kernels run without one.
    Also None if this Python has another vLLM than the environment, or none.
    """
    vllm, here = environment.components.get("vllm"), installed("vllm")
    if vllm is None or here is None or here.version != vllm.version:
        return None
    place = editable_directory("vllm") or Path(str(here.locate_file("")))
    try:
        known = Path(place, "vllm", "envs.py").read_text()
    except OSError:
        return None
    set_ = [name for name in environment.variables if name.startswith("VLLM_")]
    if not (unread := [name for name in set_ if f'"{name}"' not in known]):
        return None
    return f"vLLM {vllm.version} does not know {', '.join(unread)}: set, but without effect"
