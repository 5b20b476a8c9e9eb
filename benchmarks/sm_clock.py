"""Do the stamps of the SM clock cost the measurement anything? python benchmarks/sm_clock.py

Needs an NVIDIA GPU. Two graphs of each case are replayed in turn, one with stamps at its ends.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from tabulate import tabulate

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.cuda import GraphClock
from attnbench.timing.sm_clock import SmClock

DEVICE = "cuda:0"
CASES = [
    Case("cache-write", "torch", parse_batch_spec("q64"), AttnShape(8, 8, 128), "bf16"),
    Case("attn", "sdpa", parse_batch_spec("8q1kv1k"), AttnShape(64, 8, 128), "bf16"),
    Case("attn", "sdpa", parse_batch_spec("64q1kv4k"), AttnShape(64, 8, 128), "bf16"),
    Case("attn", "sdpa", parse_batch_spec("q2k"), AttnShape(64, 8, 128), "bf16"),
]
SETS, TURNS, REPLAYS = 8, 40, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    output: Path | None = parser.parse_args().output
    machine, stamps = read_machine(DEVICE), SmClock(DEVICE)
    seconds, lines = {}, []
    with torch.inference_mode():
        for case in CASES:
            plain, stamped, hertz = compared(case, stamps)
            name = f"{case.family} {case.backend} {case.batch}"
            seconds[name] = {"without": plain, "with": stamped, "sm_clock_hz": hertz}
            ratio = median(stamped) / median(plain)
            clocks = f"{min(hertz) / 1e9:.3f} to {max(hertz) / 1e9:.3f}"
            cells = [f"{1e6 * median(taken):.3f}" for taken in (plain, stamped)]
            lines.append([name, *cells, f"{100 * (ratio - 1):+.2f} %", clocks])
    header = ("case", "without, us", "with, us", "difference", "SM clock, GHz")
    print(tabulate(lines, header, disable_numparse=True))
    if output is not None:
        facts = {"machine": machine.as_facts(), "torch": torch.__version__, "seconds": seconds}
        output.write_text(json.dumps(facts, indent=1))


def compared(case: Case, stamps: SmClock) -> tuple[list[float], list[float], list[float]]:
    """Medians of ten replays in turn without and with stamps, and the clocks that these told."""
    calls = find(case.family, case.backend).prepare(case, Setting(DEVICE, SETS, seed=0)).calls
    clocks = {False: GraphClock(calls, DEVICE), True: GraphClock(calls, DEVICE, stamps)}
    taken: dict[bool, list[float]] = {False: [], True: []}
    begun = time.perf_counter()
    while time.perf_counter() - begun < 0.3:
        for each in clocks.values():
            each.sample()
    stamps.start()
    for turn in range(2 * TURNS):
        stamped = turn % 4 in (1, 2)  # ABBA
        taken[stamped].append(median(clocks[stamped].sample() for _ in range(REPLAYS)))
    return taken[False], taken[True], stamps.clocks()


if __name__ == "__main__":
    main()
