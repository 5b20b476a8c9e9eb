"""The memory of a case before it starts: whether it fits, and how many working sets do."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from attnbench.families import cost
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.layer import layer_bytes
from attnbench.timing.cache import MOST_SETS, sets_for
from attnbench.timing.method import Between
from attnbench.units import bytes_text

MEMINFO = Path("/proc/meminfo")
CPU_GROWTH = 128 * 2**20  # bytes of working sets; filling more takes longer than it gains
GPU_SHARE = 0.4  # of the free memory, for working sets
NAMED = 0.01  # of all bytes; a refusal names parts above it


def memory_of(
    case: Case, sets: int, machine: Machine, between: Between = "nothing"
) -> Mapping[str, float]:
    """Bytes of this many working sets by content, including shared tensors.

    With a layer between the calls, those of its products too.
    """
    layer = {"layer between": float(layer_bytes(case))} if between == "layer" else {}
    backend = find(case.family, case.backend)
    if (said := backend.memory(case, sets, machine)) is not None:
        return {**said, **layer}
    whole = replace(case, window=None, index_topk=None)
    terms = cost(whole, backend.num_decode(case)).byte_terms
    return {name: sets * size for name, size in terms.items()} | layer


def memory_refusal(
    case: Case, machine: Machine, sets: int = 1, between: Between = "nothing"
) -> str | None:
    """A sentence if this many working sets exceed the free memory.

    A kernel that allocates more while it runs may still run out of memory.
    """
    terms, free = memory_of(case, sets, machine, between), free_memory(machine)
    needed = sum(terms.values())
    if free is None or needed <= free:
        return None
    named = [(name, size) for name, size in terms.items() if size >= NAMED * needed]
    parts = ", ".join(f"{name} {bytes_text(size)}" for name, size in named)
    of_sets = f" for {sets} working sets" if sets > 1 else ""
    return (
        f"needs at least {bytes_text(needed)} of memory{of_sets} ({parts}); "
        f"{bytes_text(free)} are free"
    )


def working_sets(
    case: Case,
    machine: Machine,
    *,
    hot: bool = False,
    asked: int | None = None,
    free: int | None = None,
    between: Between = "nothing",
) -> int:
    """The number of sets that keeps the cache cold and fits in memory; one if hot, or as asked.

    `free` are bytes of memory, by default those free now.
    """
    touched = cost(case, find(case.family, case.backend).num_decode(case)).bytes
    if asked is not None or hot:
        return sets_for(touched, machine.l2_bytes, 1, hot=hot, asked=asked)
    room = free_memory(machine) if free is None else free
    most = _most_that_fit(case, machine, room, between)
    return sets_for(touched, machine.l2_bytes, most)


def _most_that_fit(case: Case, machine: Machine, free: int | None, between: Between) -> int:
    """The most working sets whose own memory is a fair part of the free memory; at least one."""
    shared = sum(memory_of(case, 0, machine, between).values())
    room = CPU_GROWTH if machine.kind == "cpu" else GPU_SHARE * (free or 0)
    if free is not None:
        room = min(room, free - shared)
    low, high = 1, MOST_SETS
    while low < high:
        middle = (low + high + 1) // 2
        fits = sum(memory_of(case, middle, machine, between).values()) - shared <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def free_memory(machine: Machine) -> int | None:
    """Bytes free now, on a GPU in its own memory; None if unknown."""
    if machine.kind == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(machine.device)[0])
    if not MEMINFO.exists():
        return None
    lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024
