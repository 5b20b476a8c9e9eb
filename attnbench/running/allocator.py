"""Memory of a GPU that PyTorch's allocator holds: what a call takes, what a check leaves."""

from attnbench.kernels.base import Prepared
from attnbench.provenance.machine import Machine

FOR_CHECKS = 2**33  # bytes; taking them anew costs more than a check


def release(machine: Machine, most: int = 0) -> None:
    """Free the memory that nothing uses any more, if it is over `most` bytes."""
    if machine.kind == "cuda":
        import torch

        device = machine.device
        left = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if left > most:
            torch.cuda.empty_cache()


def peak_memory(prepared: Prepared, machine: Machine) -> int | None:
    """Peak bytes that one call allocates besides its inputs and outputs.

    None if torch does not count. An output that a call allocates replaces its last one.
    """
    if machine.kind == "cpu":
        return None
    import torch

    before = torch.cuda.memory_allocated(machine.device)
    torch.cuda.reset_peak_memory_stats(machine.device)
    prepared.calls[0]()
    return int(torch.cuda.max_memory_allocated(machine.device) - before)
