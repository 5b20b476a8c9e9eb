"""The default timer beside CUPTI and the usual timers: python benchmarks/timer_truth.py

Needs an NVIDIA GPU. All cases are timed without CUPTI first, since it may slow later launches.
Then each is captured again, for CUPTI to see, timed, and recorded while that graph is replayed.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from tabulate import tabulate

from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.memory import working_sets
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.activity import Activity, recorded
from attnbench.timing.cuda import EagerClock, GraphClock
from attnbench.timing.cupti import KernelClock
from attnbench.timing.measure import Clock, measure
from attnbench.timing.method import Method

T = TypeVar("T")
Calls = Sequence[Callable[[], object]]

DEVICE = "cuda:0"
CASES = [
    *(("cache-write", "torch", spec) for spec in ("q1", "q64", "q1k", "q16k")),
    *(("attn", "sdpa", spec) for spec in ("8q1kv1k", "64q1kv4k", "q512", "q2k", "q8k", "2q8k")),
    *(("attn", "flash", spec) for spec in ("1q1kv1k", "8q1kv1k", "64q1kv4k", "q2k", "q8k")),
    ("attn", "naive", "8q1kv1k"),
]
SHAPES = {"cache-write": AttnShape(8, 8, 128), "attn": AttnShape(64, 8, 128)}
SINGLE_CALLS = 100  # that the host clock and the bare events time
REPLAYS = 5  # under CUPTI
WIDEST = 18  # characters of a cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    output: Path | None = parser.parse_args().output
    machine = read_machine(DEVICE)
    with torch.inference_mode():
        cases = {" ".join(each): told(partial(prepared, *each, machine)) for each in CASES}
        rows = {name: timed(TIMERS, case) for name, case in cases.items()}
        for name, case in cases.items():
            rows[name] |= timed({"cupti": under_cupti, "kernel": kernel_clock}, case)
    lines = [{"case": name} | cells(row) for name, row in rows.items()]
    print(tabulate(lines, headers="keys", disable_numparse=True))
    print(
        "microseconds per call; sum, span, gap and recorded are of CUPTI's replays of 'same graph'"
    )
    if output is not None:
        facts = {"machine": machine.as_facts(), "torch": torch.__version__, "seconds": rows}
        output.write_text(json.dumps(facts, indent=1))


def told(work: Callable[[], T]) -> T | str:
    """What `work` gives, or what it raises in a sentence: one failure must not end the others."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - a foreign timer may raise anything
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


def prepared(family: str, backend_name: str, spec: str, machine: Machine) -> Prepared:
    """The case with as many sets as keep the cache cold."""
    case = Case(family, backend_name, parse_batch_spec(spec), SHAPES[family], "bf16")
    backend = find(family, backend_name)
    return backend.prepare(case, Setting(DEVICE, working_sets(case, machine), seed=0))


def timed(timers: Mapping[str, Callable[[Calls], object]], case: Prepared | str) -> dict[str, Any]:
    """Each timer's answer by its name; a case that failed before has that failure everywhere."""
    if isinstance(case, str):
        return dict.fromkeys(timers, case)
    return {name: told(partial(timer, case.calls)) for name, timer in timers.items()}


def sampled(clock: Clock) -> float:
    """The median that the project would store."""
    method = Method("cudagraph", time_budget=0.3)
    return median(measure(clock, method, time.perf_counter).values)


def bare_events(calls: Calls) -> float:
    """Events around single calls over the sets, launching not hidden."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    taken = []
    for call in islice(cycle(calls), SINGLE_CALLS):
        start.record()
        call()
        end.record()
        end.synchronize()
        taken.append(float(start.elapsed_time(end)) * 1e-3)
    return median(taken)


def host_clock(calls: Calls) -> float:
    """A host clock around single calls over the sets, the GPU waited for."""
    taken = []
    torch.cuda.synchronize()
    for call in islice(cycle(calls), SINGLE_CALLS):
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return median(taken)


def triton_bench(function: str, calls: Calls) -> float:
    """A timer of triton.testing on one set, as its users call it; it tells milliseconds."""
    bench = getattr(importlib.import_module("triton.testing"), function)
    return float(bench(calls[0], return_mode="median")) * 1e-3


def flashinfer_bench(calls: Calls) -> float:
    """flashinfer.testing on one set, as its users call it; it tells milliseconds."""
    testing = importlib.import_module("flashinfer.testing")
    return float(median(testing.bench_gpu_time(calls[0]))) * 1e-3


TIMERS: dict[str, Callable[[Calls], float]] = {
    "ours": lambda calls: sampled(GraphClock(calls, DEVICE)),
    "eager": lambda calls: sampled(EagerClock(calls, DEVICE)),
    "events": bare_events,
    "host": host_clock,
    "do_bench": partial(triton_bench, "do_bench"),
    "do_bench_cudagraph": partial(triton_bench, "do_bench_cudagraph"),
    "flashinfer": flashinfer_bench,
}


def kernel_clock(calls: Calls) -> dict[str, float]:
    """The kernel clock's two times of eager calls."""
    clock = KernelClock(calls, DEVICE)
    return {"span": sampled(clock), "sum": median(clock.totals)}


def under_cupti(calls: Calls) -> dict[str, float]:
    """Our time of a graph, and medians over recorded replays of that graph, all per call."""
    spin = recorded(partial(torch.cuda._sleep, 1000))[-1].name
    clock = GraphClock(calls, DEVICE)
    ours = sampled(clock)
    replays = [recorded_replay(clock, spin) for _ in range(REPLAYS)]
    medians = {name: median(replay[name] for replay in replays) for name in replays[0]}
    return {"same graph": ours, "calls": clock.calls_per_sample} | medians


def recorded_replay(clock: GraphClock, spin: str) -> dict[str, float]:
    """One sample of the clock as CUPTI saw it: the kernels after the last spin are the replay's."""
    read: list[float] = []
    activities = recorded(lambda: read.append(clock.sample()))
    activities.sort(key=lambda each: each.start)
    last_spin = max(at for at, each in enumerate(activities) if each.name == spin)
    replay, calls = activities[last_spin + 1 :], clock.calls_per_sample
    span = max(each.end for each in replay) - replay[0].start
    return {
        "sum": sum(each.end - each.start for each in replay) * 1e-9 / calls,
        "span": span * 1e-9 / calls,
        "gap": mean_gap(replay),
        "recorded": read[-1],
        "kernels": len(replay) / calls,
    }


def mean_gap(activities: Sequence[Activity]) -> float:
    """Seconds in which nothing runs between a kernel and the next, on the average."""
    idle, until = 0, activities[0].end
    for each in activities[1:]:
        idle += max(0, each.start - until)
        until = max(until, each.end)
    return idle * 1e-9 / max(len(activities) - 1, 1)


def cells(row: dict[str, Any]) -> dict[str, str]:
    """A line of the table: where CUPTI or the kernel clock failed, why, in each of its cells."""
    cupti, kernel = (
        dict.fromkeys(("same graph", "sum", "span", "gap", "recorded"), found)
        if isinstance(found := row[name], str)
        else found
        for name in ("cupti", "kernel")
    )
    shown = {"ours": row["ours"]} | {
        name: cupti[name] for name in ("same graph", "sum", "span", "gap", "recorded")
    }
    others = {"kernel": kernel["span"]} | {name: row[name] for name in TIMERS if name != "ours"}
    ratios = {f"ours/{name}": ratio(cupti["same graph"], cupti[name]) for name in ("sum", "span")}
    return microseconds(shown) | ratios | microseconds(others)


def microseconds(row: dict[str, float | str]) -> dict[str, str]:
    return {
        name: found[:WIDEST] if isinstance(found, str) else f"{found * 1e6:.2f}"
        for name, found in row.items()
    }


def ratio(ours: float | str, theirs: float | str) -> str:
    if isinstance(ours, str) or isinstance(theirs, str):
        return "-"
    return f"{ours / theirs:.3f}"


if __name__ == "__main__":
    main()
