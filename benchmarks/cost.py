"""What a measurement costs beside the GPU's own work: python benchmarks/cost.py

Needs an NVIDIA GPU. A hundred cases, one round each, against triton's do_bench_cudagraph on the
same prepared calls with the same time of sampling. Preparing the inputs is needed by both and
counted for neither.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.records import Status
from attnbench.running.execute import execute
from attnbench.running.messages import Job
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.guard import GpuGuard
from attnbench.timing.method import Method

DEVICE = "cuda:0"
LENGTHS = ("256", "512", "1k", "2k", "4k")
BATCHES = [
    *(f"{count}q1kv{length}" for count in (1, 4, 16, 64) for length in LENGTHS),
    *(f"{count}q{length}" for count in (1, 2) for length in ("128", "256", "512", "1k", "2k")),
    *(f"{count}q16kv{length}" for count in (1, 4, 16, 64) for length in LENGTHS),
]
REPLAYS = 10  # of its graph by do_bench_cudagraph
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
    execute(_job(cases[0]), machine, guard.look, _unheard)  # loads what a first case loads
    rows = [_costs(case, machine, guard) for case in cases]
    names = [name for name in rows[0] if name != "case"]
    table = [(n, sum(r[n] for r in rows), 1e3 * median(r[n] for r in rows)) for n in names]
    print(tabulate(table, ("part", f"{len(cases)} cases, s", "median, ms"), floatfmt=".3f"))
    if output is not None:
        output.write_text(json.dumps({"machine": machine.as_facts(), "cases": rows}, indent=1))


def _unheard(phase: str) -> None:
    """Nobody waits for the phases of a job here."""


def _job(case: Case) -> Job:
    return Job(case, Method("cudagraph"), 0, None, profile_memory=False, host=False)


def _costs(case: Case, machine: Machine, guard: GpuGuard) -> dict[str, Any]:
    """Seconds of each part of ours, and of do_bench_cudagraph with as much sampling."""
    outcome = execute(_job(case), machine, guard.look, _unheard)
    assert outcome.status is Status.OK, (str(case.batch), outcome.reason)
    names = ("prepare", "check", "capture", "poison", "warmup", "time", "check_again")
    parts = {name: outcome.durations[name] for name in names}
    timing = sum(parts[name] for name in ("capture", "warmup", "time"))
    per_call = median(outcome.samples)
    sampled = len(outcome.samples) * outcome.calls_per_sample
    # The first replay only brings the graph to the device, and three calls are its estimate.
    unseen = outcome.calls_per_sample + 3
    ours_busy = (sampled + outcome.warmup_calls + unseen) * per_call
    theirs, theirs_busy = _do_bench_cudagraph(case, outcome.sets, per_call, sampled)
    return {
        "case": str(case.batch),
        **{f"ours: {name}": seconds for name, seconds in parts.items()},
        "ours: timing, outside GPU work": timing - ours_busy,
        "ours: checks": parts["check"] + parts["poison"] + parts["check_again"],
        "do_bench_cudagraph: all": theirs,
        "do_bench_cudagraph: outside GPU work": theirs - theirs_busy,
    }


def _do_bench_cudagraph(case: Case, sets: int, per_call: float, calls: int) -> tuple[float, float]:
    """Seconds that it takes for about `calls` timed calls, and those that the GPU works."""
    with torch.inference_mode():
        backend = find(case.family, case.backend)
        call = backend.prepare(case, Setting(DEVICE, sets, seed=0)).calls[0]
        call()
        estimate = _as_it_estimates(call)
        repeats = max(1, calls // REPLAYS)  # in its graph
        started = time.perf_counter()
        importlib.import_module("triton.testing").do_bench_cudagraph(
            call, rep=(repeats + 0.5) * estimate * 1e3
        )
        wall = time.perf_counter() - started
    return wall, (REPLAYS * repeats + 6) * per_call


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
