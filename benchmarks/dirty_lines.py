"""Does flushing the L2 cache by writes slow the next kernel? python benchmarks/dirty_lines.py

Needs an NVIDIA GPU. A flush by writes leaves dirty lines, which must be written back while the
next kernel fetches its own; a flush by reads leaves clean ones. Each is followed at once by a
decode or a cache write, whose time is CUPTI's, in turn, so that clocks and heat are the same.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from tabulate import tabulate

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.activity import Profile
from attnbench.timing.cupti import CallProfiler

Call = Callable[[], object]

DEVICE = "cuda:0"
CASES = {
    "decode, sdpa 8q1kv1k": ("attn", "sdpa", "8q1kv1k", AttnShape(64, 8, 128)),
    "cache write, 64 tokens": ("cache-write", "torch", "q64", AttnShape(8, 8, 128)),
}
CACHES = 3  # that a flush touches
REPEATS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    output: Path | None = parser.parse_args().output
    machine = read_machine(DEVICE)
    assert machine.l2_bytes is not None
    with torch.inference_mode():
        profiler, flushes = CallProfiler(DEVICE), make_flushes(CACHES * machine.l2_bytes)
        times = {
            name: seconds_after(flushes, call_of(*case), profiler) for name, case in CASES.items()
        }
    lines = [line(name, flush, taken) for name, taken in times.items() for flush in taken]
    print(tabulate(lines, headers="keys", disable_numparse=True))
    print(f"microseconds by CUPTI; a flush touches {CACHES} times the L2 cache; {REPEATS} repeats")
    if output is not None:
        facts: dict[str, Any] = {"machine": machine.as_facts(), "torch": torch.__version__}
        output.write_text(json.dumps(facts | {"seconds": times}, indent=1))


def make_flushes(size: int) -> dict[str, Call]:
    """Launches that drive everything out of a cache: by reads, by writes, by both."""
    read, written = (torch.ones(size // 4, device=DEVICE) for _ in range(2))

    def both() -> None:
        written.fill_(1.0)
        read.sum()

    return {
        "nothing": lambda: None,  # the call before left its data in the cache
        "reads": read.sum,
        "writes": lambda: written.fill_(1.0),
        "writes, then reads": both,
    }


def call_of(family: str, backend: str, spec: str, shape: AttnShape) -> Call:
    """One launch of the case, always on the same set."""
    case = Case(family, backend, parse_batch_spec(spec), shape, "bf16")
    return find(family, backend).prepare(case, Setting(DEVICE, 1, seed=0)).calls[0]


def seconds_after(
    flushes: dict[str, Call], call: Call, profiler: CallProfiler
) -> dict[str, list[float]]:
    """The span of the call's kernels after each kind of flush, in the order taken."""
    own = kernels_in(call, profiler)
    times: dict[str, list[float]] = {name: [] for name in flushes}
    for _ in range(REPEATS):
        pairs = [in_turn(flush, call) for flush in flushes.values()]
        for name, activities in zip(flushes, profiler.activities(pairs), strict=True):
            times[name].append(Profile.of(activities[-own:]).span)
    return times


def kernels_in(call: Call, profiler: CallProfiler) -> int:
    """How many kernels the call launches; the first time it also loads them."""
    call()
    return len(profiler.activities([call])[0])


def in_turn(flush: Call, call: Call) -> Call:
    """Both launched as one."""

    def pair() -> None:
        flush()
        call()

    return pair


def line(name: str, flush: str, times: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """The median of one kind of flush, its quartiles, and how it compares with reads."""
    low, middle, high = quantiles(times[flush], n=4)
    return {
        "kernel": name,
        "flush by": flush,
        "median": f"{middle * 1e6:.2f}",
        "quartiles": f"{low * 1e6:.2f} to {high * 1e6:.2f}",
        "against reads": f"{100 * (middle / median(times['reads']) - 1):+.1f} %",
    }


if __name__ == "__main__":
    main()
