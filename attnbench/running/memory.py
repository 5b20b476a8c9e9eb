"""Whether a case can fit at all, foreseen from its useful bytes: before it is started."""

from pathlib import Path

from attnbench.families import cost
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.units import bytes_text

MEMINFO = Path("/proc/meminfo")


def memory_refusal(case: Case, machine: Machine, sets: int = 1) -> str | None:
    """A sentence on inputs and outputs of so many working sets that exceed what is free now.

    They are what any implementation must hold; one that holds more may still run out of memory.
    """
    num_decode = find(case.family, case.backend).num_decode(case)
    terms = cost(case, num_decode).byte_terms
    needed, free = sets * sum(terms.values()), free_memory(machine)
    if free is None or needed <= free:
        return None
    parts = ", ".join(f"{name} {bytes_text(sets * size)}" for name, size in terms.items())
    of_sets = f" for {sets} working sets" if sets > 1 else ""
    return (
        f"needs at least {bytes_text(needed)} of memory{of_sets} ({parts}); "
        f"{bytes_text(free)} are free"
    )


def free_memory(machine: Machine) -> int | None:
    """Bytes that can be had now, on a GPU of its own memory; None where nothing tells."""
    if machine.kind == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(machine.device)[0])
    if not MEMINFO.exists():
        return None
    lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024
