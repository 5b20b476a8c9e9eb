"""A decode with a layer between its calls, timed in three ways: python benchmarks/layer_between.py

In one and the same order of work, a layer's products before each call: the difference from a graph
of the products alone, as `--between layer` has it; event nodes around each call; and the span of
the call's kernels by CUPTI, which a server's profile has. Beside them, calls back to back and, in
event nodes, the time between two events around nothing. Microseconds a call.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median, stdev
from typing import Any

import torch
from between_calls import DEVICE, REPLAYS, SERVED, case_of, spans
from tabulate import tabulate

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.running.memory import working_sets
from attnbench.specs import layer
from attnbench.specs.case import Case
from attnbench.timing.activity import recorded, trimmed
from attnbench.timing.cuda import GraphClock
from attnbench.timing.layer import LayerClock, products_of
from attnbench.timing.measure import Clock

SAMPLES, CALLS = 100, 12
BACKENDS = SERVED | {"triton_mla": {"max_model_len": 163840}}
Call = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--specs", nargs="+", default=["64q1kv1k", "64q1kv4k"])
    parser.add_argument("--mlp", nargs="+", type=int, default=[layer.MLP], help="widths to try")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    ready = [
        (case, calls)
        for backend in given.backends
        for spec in given.specs
        if (calls := prepared(case := case_of(backend, spec, BACKENDS[backend])))
    ]
    found = [
        {"backend": case.backend, "batch": str(case.batch), "mlp": width} | timed(case, calls)
        for case, calls in ready
        for width in given.mlp
        if set_width(width)
    ]
    recorded(lambda: torch.zeros(1, device=DEVICE))  # CUPTI has to be there before a capture
    again = ((case, calls) for case, calls in ready for width in given.mlp if set_width(width))
    for row, (case, calls) in zip(found, again, strict=True):
        row["CUPTI"] = by_cupti(case, calls)
        if given.output:
            given.output.write_text(json.dumps(found, indent=1))
    print(tabulate(found, headers="keys", floatfmt=".2f"))


def set_width(width: int) -> bool:
    layer.MLP = width
    return True


def prepared(case: Case) -> Sequence[Call]:
    """The calls of as many sets as are cold; none of a case that cannot run."""
    machine, adapter = read_machine(DEVICE), find(case.family, case.backend)
    if reason := adapter.refusal(case, machine):
        print(case.backend, reason)
        return []
    try:
        with torch.inference_mode():
            sets = working_sets(case, machine)
            calls = adapter.prepare(case, Setting(DEVICE, sets, seed=0)).calls
            calls[0]()
    except Refused as refused:
        print(case.backend, refused)
        return []
    return calls


def timed(case: Case, calls: Sequence[Call]) -> dict[str, Any]:
    """By our clocks, and how much two graphs of the difference differ."""
    with torch.inference_mode():
        products = products_of(case, DEVICE)
        alone = microseconds(GraphClock([products], DEVICE))
        clocks = [LayerClock.of(calls, products, DEVICE, None) for _ in range(3)]
        differences = [microseconds(clock) for clock in clocks]
        return {
            "layer alone": alone,
            "back to back": microseconds(GraphClock(calls, DEVICE)),
            "difference": median(differences),
            "sd of graphs": stdev(differences),
            "events": by_events(products, calls),
            "events around nothing": by_events(products, [lambda: None]),
        }


def microseconds(clock: Clock) -> float:
    samples = [clock.sample() for _ in range(SAMPLES)]
    return 1e6 * median(samples[SAMPLES // 2 :])


def by_events(products: Call, calls: Sequence[Call]) -> float:
    """Of the median call, from an event node before it to one behind it."""
    pairs = [
        tuple(torch.cuda.Event(enable_timing=True, external=True) for _ in range(2))
        for _ in range(CALLS)
    ]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for (start, end), call in zip(pairs, islice(cycle(calls), CALLS), strict=True):
            products()
            start.record()
            call()
            end.record()
    samples = []
    for _ in range(SAMPLES):
        graph.replay()
        torch.cuda.synchronize()
        samples.append(median(1e3 * float(start.elapsed_time(end)) for start, end in pairs))
    return median(samples[SAMPLES // 2 :])


def by_cupti(case: Case, calls: Sequence[Call]) -> float:
    """The median span of a call's kernels in a graph of products and calls in turn."""
    with torch.inference_mode():
        products = products_of(case, DEVICE)
        kernels = {trimmed(each.name) for each in recorded(calls[0])}
        products()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for call in islice(cycle(calls), CALLS):
                products()
                call()
        for _ in range(REPLAYS):
            graph.replay()
        activities = recorded(lambda: [graph.replay() for _ in range(REPLAYS)])
    return 1e-3 * median(spans(activities, kernels))


if __name__ == "__main__":
    main()
