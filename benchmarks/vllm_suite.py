"""Our times beside those of vLLM's own benchmark suite: python benchmarks/vllm_suite.py

Needs an NVIDIA GPU and vLLM. The suite is no part of vLLM's packages, but its conditions are known:
ten layers a call, a cache of zeros, pages in order, triton's do_bench_cudagraph. That very timer
runs here over calls prepared so; then ours takes over, and the conditions are left one by one
until they are ours. Each is an option: --num-layers 10, --kv-data zeros, --page-order contiguous.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from attnbench.families import cost
from attnbench.kernels.base import Setting
from attnbench.kernels.check import check
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.memory import working_sets
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.cache import footprint_ratio
from attnbench.timing.cuda import GraphClock
from attnbench.timing.measure import measure
from attnbench.timing.method import Method

DEVICE = "cuda:0"
SHAPE = AttnShape(32, 8, 128)
LAYERS = 10  # the suite's default
BACKENDS = ("flash", "triton", "flashinfer")
SPECS = ("q2k", "q8k", "1q1kv1k", "8q1kv1k", "64q1kv4k", "16q4kv1k", "32q1kv1k_2q2k")
SUITES = {"kv_data": "zeros", "page_order": "contiguous"}
# From the suite's conditions to ours, one at a time.
STEPS: dict[str, tuple[dict[str, Any], bool]] = {
    "ours, its conditions": (SUITES, False),
    "random data": (SUITES | {"kv_data": "random"}, False),
    "scattered pages": ({}, False),
    "cold: our default": ({}, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=BACKENDS)
    parser.add_argument("--specs", nargs="+", default=SPECS)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    given = parser.parse_args()
    machine = read_machine(DEVICE)
    with torch.inference_mode():
        rows = [
            compared(backend, spec, machine) for spec in given.specs for backend in given.backends
        ]
    print(tabulate([shown(row) for row in rows], headers="keys", floatfmt=".4g"))
    print("microseconds a layer; footprint: bytes of the suite's ten layers over the cache's")
    if given.output is not None:
        facts = {"machine": machine.as_facts(), "torch": torch.__version__, "cases": rows}
        given.output.write_text(json.dumps(facts, indent=1))


def compared(backend: str, spec: str, machine: Machine) -> dict[str, Any]:
    """Seconds a layer under each condition, or why the case cannot run."""
    case = Case("attn", find("attn", backend).name, parse_batch_spec(spec), SHAPE, "bf16")
    row: dict[str, Any] = {"backend": backend, "batch": spec}
    if reason := find("attn", backend).refusal(case, machine):
        return row | {"refused": reason}
    work = cost(case, find("attn", backend).num_decode(case))
    cold = working_sets(case, machine)
    calls = prepared(case, SUITES, LAYERS)
    seconds = {"suite": by_the_suite(calls)}
    for name, (fields, is_cold) in STEPS.items():
        calls = prepared(case, fields, cold if is_cold else LAYERS)
        clock = GraphClock(calls, DEVICE)
        method = Method("cudagraph", time_budget=0.3)
        seconds[name] = median(measure(clock, method, time.perf_counter).values)
    footprint = footprint_ratio(int(work.bytes), LAYERS, machine.l2_bytes)
    return row | {"footprint": footprint, "cold_sets": cold, "seconds": seconds}


def prepared(case: Case, fields: dict[str, Any], sets: int) -> Sequence[Callable[[], object]]:
    """The calls of a case under other conditions, checked once."""
    other = replace(case, **fields)
    ready = find("attn", case.backend).prepare(other, Setting(DEVICE, sets, seed=0))
    check(ready, seed=0)
    return ready.calls


def by_the_suite(calls: Sequence[Callable[[], object]]) -> float:
    """The mean of do_bench_cudagraph over all layers, per layer; it tells milliseconds."""

    def layers() -> None:
        for call in calls:
            call()

    bench = importlib.import_module("triton.testing").do_bench_cudagraph
    return float(bench(layers, return_mode="mean")) * 1e-3 / len(calls)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A line of the table, each step against the one before it."""
    line = {"backend": row["backend"], "batch": row["batch"]}
    if "refused" in row:
        return line | {"suite": row["refused"]}
    before: float | None = None
    for name, seconds in row["seconds"].items():
        change = "" if before is None else f" ({100 * (seconds / before - 1):+.1f} %)"
        line[name] = f"{1e6 * seconds:.4g}{change}"
        before = seconds
    return line | {"footprint": f"{row['footprint']:.2g}"}


if __name__ == "__main__":
    main()
