"""What a measurement costs beside the GPU's own work: python benchmarks/cost.py

Needs an NVIDIA GPU. A hundred cases, one round each, against triton's do_bench_cudagraph on the
same prepared calls with as many timed calls. Preparing the inputs is needed by both and counted
for neither.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from tabulate import tabulate

from attnbench.garbage import none_is_made
from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.records import Status
from attnbench.running.execute import execute
from attnbench.running.messages import Job
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.cuda import EagerClock
from attnbench.timing.guard import GpuGuard
from attnbench.timing.method import Method

DEVICE = "cuda:0"
LENGTHS = ("256", "512", "1k", "2k", "4k")
BATCHES = [
    *(f"{count}q1kv{length}" for count in (1, 4, 16, 64) for length in LENGTHS),
    *(f"{count}q{length}" for count in (1, 2) for length in ("128", "256", "512", "1k", "2k")),
    *(f"{count}q16kv{length}" for count in (1, 4, 16, 64) for length in LENGTHS),
]
AFTER = ("check_again", "check_repeated", "check_renewed")  # timing
REPLAYS = 10  # of its graph by do_bench_cudagraph
SINGLE_CALLS = 6  # by which it warms up and estimates
SHAPES = (AttnShape(32, 8, 128), AttnShape(8, 1, 128))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    output: Path | None = parser.parse_args().output
    machine = read_machine(DEVICE)
    guard = GpuGuard(machine.gpu_uuid)
    cases = [
        Case("attn", "sdpa", parse_batch_spec(spec), shape, "bf16")
        for spec in BATCHES
        for shape in SHAPES
    ]
    with none_is_made():  # as in a worker, for which modules are no garbage to look through
        execute(_job(cases[0]), machine, guard.look, _unheard)  # loads what a first case loads
        importlib.import_module("triton.testing")
    rows = [_costs(case, machine, guard) for case in cases]
    names = [name for name in rows[0] if name != "case"]
    table = [(n, sum(r[n] for r in rows), 1e3 * median(r[n] for r in rows)) for n in names]
    print(tabulate(table, ("part", f"{len(cases)} cases, s", "median, ms"), floatfmt=".3f"))
    if output is not None:
        output.write_text(json.dumps({"machine": machine.as_facts(), "cases": rows}, indent=1))


def _unheard(phase: str) -> None:
    """Nobody waits for the phases of a job here."""


def _job(case: Case) -> Job:
    method = Method("cudagraph", regime="burst")  # do_bench_cudagraph puts no load first
    return Job(case, method, 0, None, profile_memory=False, host=False)


def _costs(case: Case, machine: Machine, guard: GpuGuard) -> dict[str, Any]:
    """Seconds of each part of ours, and of do_bench_cudagraph with as much sampling."""
    started = time.perf_counter()
    outcome = execute(_job(case), machine, guard.look, _unheard)
    whole = time.perf_counter() - started
    assert outcome.status is Status.OK, (str(case.batch), outcome.reason)
    names = ("prepare", "check", "capture", "poison", "warmup", "time", *AFTER)
    parts = {name: outcome.durations[name] for name in names}
    timing = sum(parts[name] for name in ("capture", "warmup", "time"))
    per_call, calls = median(outcome.samples), outcome.calls_per_sample
    # The first replay only brings the graph to the device, and a call is its estimate.
    unseen = outcome.warmup_calls + calls + 1
    ours_busy = sum(outcome.samples) * calls + unseen * per_call
    theirs, theirs_busy = _do_bench_cudagraph(case, outcome.sets, len(outcome.samples) * calls)
    return {
        "case": str(case.batch),
        **{f"ours: {name}": seconds for name, seconds in parts.items()},
        "ours: timing, outside GPU work": timing - ours_busy,
        "ours: checks": sum(parts[name] for name in ("check", "poison", *AFTER)),
        "ours: labels, clocks and names": whole - sum(parts.values()),
        "do_bench_cudagraph: all": theirs,
        "do_bench_cudagraph: outside GPU work": theirs - theirs_busy,
    }


def _do_bench_cudagraph(case: Case, sets: int, calls: int) -> tuple[float, float]:
    """Seconds that it takes for about `calls` timed calls, and those that the GPU works."""
    with torch.inference_mode():
        backend = find(case.family, case.backend)
        call = backend.prepare(case, Setting(DEVICE, sets, seed=0)).calls[0]
        call()
        repeats = max(1, calls // REPLAYS)  # in its graph
        rep = (repeats + 0.5) * _as_it_estimates(call) * 1e3
        torch.cuda.empty_cache()  # what ours left is not for its capture to give back
        bench = importlib.import_module("triton.testing").do_bench_cudagraph
        graphs: list[torch.cuda.CUDAGraph] = []
        with patch.object(torch.cuda, "CUDAGraph", partial(_kept, graphs, torch.cuda.CUDAGraph)):
            started = time.perf_counter()
            per_call = bench(call, rep=rep, return_mode="median") * 1e-3
            wall = time.perf_counter() - started
        return wall, REPLAYS * _gpu_seconds(graphs[0]) + SINGLE_CALLS * per_call


def _kept(graphs: list[Any], make: Callable[[], Any]) -> Any:
    """A graph that can be replayed when its maker is done with it."""
    graphs.append(make())
    return graphs[-1]


def _gpu_seconds(graph: torch.cuda.CUDAGraph) -> float:
    """The median of three replays; its own events, before the launch, would count that too."""
    clock = EagerClock([graph.replay], DEVICE)
    return median(clock.sample() for _ in range(3))


def _as_it_estimates(call: Callable[[], object]) -> float:
    """Seconds a call by events around five single calls, from which it sizes its graph."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(5):
        call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) * 1e-3 / 5


if __name__ == "__main__":
    main()
