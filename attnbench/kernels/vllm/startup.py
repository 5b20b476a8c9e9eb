"""The process state that vLLM expects before layers can be built; set once per worker."""

import os
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.kernels.vllm.late_compile import compile_when_used

if TYPE_CHECKING:
    from vllm.config import VllmConfig

# Set before vLLM is imported: it must neither use a network nor report usage.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}

_active = ExitStack()


@cache
def import_vllm() -> None:
    """Import vLLM's platform, with the environment prepared."""
    prepare_environment()
    import vllm.platforms

    assert vllm.platforms.current_platform is not None  # the access imports it


def prepare_environment() -> None:
    """Set the variables vLLM reads at import, except those the user has set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("VLLM_CACHE_ROOT", str(Path(tempfile.gettempdir(), "attnbench-vllm")))


def activate(config: "VllmConfig") -> None:
    """Make `config` the current one of this process until the next call.

    Predicates, builders, impls and some launches read the current configuration.
    """
    from vllm.config import set_current_vllm_config

    _active.close()
    _active.enter_context(set_current_vllm_config(config))


@cache
def start(device: str) -> None:
    """Start the one-rank process group and workspace manager that layers need; `activate` first.

    One rank meets nobody, so its store is in memory: another process might take a port, and
    PyTorch's monitor of NCCL asks the store each second, for as long as the group lives.
    """
    import torch
    from torch.distributed import HashStore, init_process_group, is_initialized
    from vllm.distributed import init_distributed_environment, initialize_model_parallel

    compile_when_used()
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if not is_initialized():  # what follows may have failed in an earlier call
        init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    index = torch.device(device).index or 0
    init_distributed_environment(1, 0, local_rank=index, backend=backend)
    initialize_model_parallel(1)
    try:
        from vllm.v1.worker.workspace import init_workspace_manager
    except ImportError:  # this release has none and needs none
        return
    init_workspace_manager(torch.device(device))
