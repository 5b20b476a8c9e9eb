"""State that a job may leave in its process and that would affect the next one."""

import os
import threading
from collections.abc import Mapping

from attnbench.kernels.base import Backend
from attnbench.kernels.own import is_own


def process_state(backend: Backend) -> Mapping[str, object]:
    """PyTorch's global settings; for a user's own backend also environment and threads.

    Kernel libraries set variables and start threads when they are first imported, and ours leave
    them alone after that.
    """
    import torch

    smallest = torch.full((1,), 2e-38, dtype=torch.float32, device="cpu")
    found: dict[str, object] = {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "flushes denormals": bool(smallest * 0.1 == 0),
        "working directory": _working_directory(),
    }
    if is_own(backend):
        found |= {"environment": dict(os.environ), "threads of Python": _threads()}
    return found


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _threads() -> frozenset[int]:
    return frozenset(thread.ident or 0 for thread in threading.enumerate())
