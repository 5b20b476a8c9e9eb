"""Whether launching a graph shows in its time: python benchmarks/launches.py [--out FILE]

Needs an NVIDIA GPU and vLLM. Replays as the default timer takes them, behind its own spin alone,
and in turn with them the same replays behind 5 ms more of spinning, in which any launch is over.
Cold calls of many kernels and few, short and long.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.memory import working_sets
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.timing.cuda import GraphClock

DEVICE = "cuda:0"
CYCLES = 10_000_000  # of the spin: about 5 ms
WARMUPS, SAMPLES = 10, 30
ATTN = {
    "sdpa": ("q128", "q512", "q16kv512", "8q1kv1k", "q2k"),
    "flash": ("1q1kv1k", "8q1kv1k", "64q1kv4k", "q512", "2q2k_32q1kv1k"),
    "triton": ("8q1kv1k",),
    "flashinfer": ("8q1kv1k",),
    "naive": ("8q1kv1k",),
}
MLA = {
    "flashmla": ("32q1kv1k", "128q1kv4k"),
    "flashattn_mla": ("16q1kv512",),
    "triton_mla": ("16q1kv512",),
    "torch-absorbed": ("16q1kv512",),
    "torch-mha": ("16q1kv512", "64q1kv1k"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    out: Path | None = parser.parse_args().out
    machine = read_machine(DEVICE)
    shapes: dict[str, AttnShape | MlaShape] = {"attn": AttnShape(8, 1, 128), "mla": MlaShape(128)}
    cases = [
        Case(family, backend, parse_batch_spec(spec), shapes[family], "bf16")
        for family, backends in (("attn", ATTN), ("mla", MLA))
        for backend, specs in backends.items()
        for spec in specs
    ]
    with torch.inference_mode():
        rows = [row_of(case, machine) for case in cases]
    table = [
        (row["case"], row["calls"], 1e6 * row["own_s"], 1e6 * row["behind_s"], change(row))
        for row in rows
    ]
    headers = ("case", "calls", "default", "behind 5 ms", "difference, %")
    print(tabulate(table, headers, floatfmt=("", "", ".3f", ".3f", "+.2f")))
    print("microseconds a call")
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n")


def row_of(case: Case, machine: Machine) -> dict[str, Any]:
    """Medians of one case's replays, seconds a call, and the clock's labels."""
    backend = find(case.family, case.backend)
    calls = backend.prepare(case, Setting(DEVICE, working_sets(case, machine), seed=0)).calls
    for call in calls:
        call()
    clock, own, behind = GraphClock(calls, DEVICE), list[float](), list[float]()
    for _ in range(WARMUPS):
        clock.sample()
    for _ in range(SAMPLES):
        own.append(clock.sample())
        torch.cuda._sleep(CYCLES)
        behind.append(clock.sample())
    return {
        "case": f"{case.backend} {case.batch}",
        "calls": clock.calls_per_sample,
        "own_s": median(own),
        "behind_s": median(behind),
        "labels": clock.labels,
    }


def change(row: dict[str, Any]) -> float:
    """How much longer the default is, percent."""
    return 100 * (float(row["own_s"]) / float(row["behind_s"]) - 1)


if __name__ == "__main__":
    main()
