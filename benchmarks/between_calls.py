"""Decodes with and without another kernel between the calls: python benchmarks/between_calls.py

A graph of nothing but calls of one kernel lets programmatic dependent launch overlap each call with
the end of the one before. In a model a GEMM or RoPE stands between two attention calls. Here an
addition of 4 MiB does, which waits for what is before it; its own time is taken off.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Value
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.timing.cuda import GraphClock

DEVICE = "cuda:0"
SETS, SAMPLES = 4, 30
SERVED: dict[str, dict[str, Value]] = {
    "flash": {"max_model_len": 131072},
    "triton": {"max_model_len": 131072},
    "flashinfer": {"max_model_len": 131072, "decode_kernel": "served"},
    "flashmla": {"max_model_len": 163840},
    "flashattn_mla": {"max_model_len": 163840},
}
SPECS = ("8q1kv1k", "64q1kv1k", "64q1kv4k")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    between = torch.zeros(2**20, device=DEVICE)
    alone = seconds_of([lambda: between.add_(1)])
    found = [line(backend, spec, between, alone) for backend in SERVED for spec in SPECS]
    print(tabulate(found, headers="keys", floatfmt=".2f"))
    if given.output:
        given.output.write_text(json.dumps(found, indent=1))


def line(backend: str, spec: str, between: torch.Tensor, alone: float) -> dict[str, Any]:
    """One case, microseconds a call."""
    mla = "mla" in backend
    case = Case(
        "mla" if mla else "attn",
        backend,
        parse_batch_spec(spec),
        MlaShape(128) if mla else AttnShape(32, 8, 128),
        "bf16",
        knobs=tuple(SERVED[backend].items()),
    )
    names = {"backend": backend, "spec": spec}
    adapter = find(case.family, backend)
    if reason := adapter.refusal(case, read_machine(DEVICE)):
        return names | {"refused": reason}
    try:
        with torch.inference_mode():
            calls = adapter.prepare(case, Setting(DEVICE, SETS, seed=0)).calls
            calls[0]()
            packed = seconds_of(calls)
            apart = seconds_of([then(call, between) for call in calls]) - alone
    except Refused as refused:
        return names | {"refused": str(refused)}
    torch.cuda.empty_cache()
    return names | {"back to back": 1e6 * packed, "with one between": 1e6 * apart}


def then(call: Callable[[], object], between: torch.Tensor) -> Callable[[], object]:
    """The call, and the addition after it."""

    def both() -> None:
        call()
        between.add_(1)

    return both


def seconds_of(calls: Sequence[Callable[[], object]]) -> float:
    """The median of samples of a call."""
    clock = GraphClock(calls, DEVICE)
    for _ in range(SAMPLES):
        clock.sample()
    return median(clock.sample() for _ in range(SAMPLES))


if __name__ == "__main__":
    main()
