"""What vLLM expects of a process before its layers can be built: once a worker."""

import os
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.config import VllmConfig

# Set before vLLM is imported: nothing here may reach a network or report usage.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}

_active = ExitStack()


@cache
def import_vllm() -> None:
    """Import vLLM's platform, in the environment that it reads meanwhile."""
    prepare_environment()
    import vllm.platforms

    assert vllm.platforms.current_platform is not None  # looking at it imports it


def prepare_environment() -> None:
    """Set what vLLM reads while it is imported; what the user set stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("VLLM_CACHE_ROOT", str(Path(tempfile.gettempdir(), "attnbench-vllm")))


def activate(config: "VllmConfig") -> None:
    """Make `config` the current one of this process, until the next call.

    Predicates, builders, impls and some launches ask for the current configuration.
    """
    from vllm.config import set_current_vllm_config

    _active.close()
    _active.enter_context(set_current_vllm_config(config))


@cache
def start(device: str) -> None:
    """The process group of one rank and the workspace manager that layers expect, under `activate`.

    The rank meets itself through a file: a port might be taken by another process.
    """
    import torch
    from vllm.distributed import init_distributed_environment, initialize_model_parallel

    backend = "nccl" if torch.cuda.is_available() else "gloo"
    meeting = Path(tempfile.mkdtemp(), "rendezvous")
    index = torch.device(device).index or 0
    init_distributed_environment(1, 0, f"file://{meeting}", index, backend)
    initialize_model_parallel(1)
    try:
        from vllm.v1.worker.workspace import init_workspace_manager
    except ImportError:  # a release without one needs none
        return
    init_workspace_manager(torch.device(device))
