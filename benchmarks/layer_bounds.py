"""Which kernels lengthen a layer when a call joins it: python benchmarks/layer_bounds.py

A call could be timed by what it adds to a layer's products. That is the call's own only if they
take as long without it. Where no call stands between, the last product runs right before the
first of the next layer, which a server never has: with programmatic dependent launch the two may
overlap; and the products' own code stays in the caches. So four ways beside each other: less the
products alone; less the products with an empty kernel in the call's place, plus an empty kernel;
between two marks by the GPU's timer around the call, less those around an empty kernel, plus an
empty kernel; the span of the call's kernels by CUPTI. Then, by CUPTI, each kernel's duration and
the gap before it, with and without the call. Microseconds.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median, stdev
from typing import Any

import torch
from between_calls import DEVICE, REPLAYS, SERVED, case_of, made_cold, spans
from tabulate import tabulate

from attnbench.kernels.base import Refused
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape
from attnbench.timing.activity import Activity, recorded, trimmed
from attnbench.timing.cuda import GraphClock
from attnbench.timing.layer import LayerClock, empty, empty_seconds, products_of
from attnbench.timing.marks import Marks
from attnbench.timing.measure import Clock

SAMPLES, CALLS = 60, 12
HEADS = (16, 32, 64, 128)
BACKENDS = SERVED | {"triton_mla": {"max_model_len": 163840}}
Call = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--specs", nargs="+", default=["q1kv1k", "64q1kv1k"])
    parser.add_argument("--heads", nargs="+", type=int, default=HEADS, help="of MLA")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    ready = [
        (case, calls)
        for backend in given.backends
        for spec in given.specs
        for case in cases(backend, spec, given.heads)
        if (calls := prepared(case))
    ]
    found = [facts(case) | clocks(case, calls) for case, calls in ready]
    recorded(lambda: torch.zeros(1, device=DEVICE))  # CUPTI has to be there before a capture
    for row, (case, calls) in zip(found, ready, strict=True):
        row.update(traces(case, calls))
        if given.output:
            given.output.write_text(json.dumps(found, indent=1))
    rows = [{name: v for name, v in row.items() if name != "kernels"} for row in found]
    print(tabulate(rows, headers="keys", floatfmt=".2f"))
    for row in found:
        print(f"\n{row['backend']} {row['heads']} heads {row['batch']}: kernel, us, gap before")
        print(tabulate(row["kernels"], headers="keys", floatfmt=".2f"))


def cases(backend: str, spec: str, heads: Sequence[int]) -> list[Case]:
    """MLA with each number of heads; attention as it is."""
    case = case_of(backend, spec, BACKENDS[backend])
    if not isinstance(case.shape, MlaShape):
        return [case]
    return [replace(case, shape=MlaShape(each)) for each in heads]


def prepared(case: Case) -> Sequence[Call]:
    """The calls of as many sets as are cold; none of a case that cannot run."""
    try:
        with torch.inference_mode():
            return made_cold(case).calls
    except Refused as refused:
        print(case.backend, refused)
        return []


def facts(case: Case) -> dict[str, Any]:
    return {
        "backend": case.backend,
        "heads": case.shape.num_q_heads,
        "batch": str(case.batch),
    }


def clocks(case: Case, calls: Sequence[Call]) -> dict[str, float]:
    """By our clocks, whose graphs take turns so that all have the same power."""
    with torch.inference_mode():
        products = products_of(case, DEVICE)
        both = GraphClock([joined(products, call) for call in calls], DEVICE)
        many = both.calls_per_sample
        alone = GraphClock([products], DEVICE, calls_per_sample=many)
        with_empty = GraphClock([joined(products, empty)], DEVICE, calls_per_sample=many)
        samples = [[each.sample() for each in (both, alone, with_empty)] for _ in range(SAMPLES)]
        one, marked = 1e6 * empty_seconds(DEVICE), LayerClock.of(calls, products, DEVICE, None)
        by_marks = [1e6 * marked.sample() for _ in range(SAMPLES)]
        return {
            "back to back": microseconds(GraphClock(calls, DEVICE)),
            "products": 1e6 * median(b for _, b, _ in samples),
            "less products": median(1e6 * (a - b) for a, b, _ in samples),
            "less them with an empty kernel": median(1e6 * (a - c) for a, _, c in samples) + one,
            "marks": median(by_marks),
            "their sd": stdev(by_marks),
            "around empty: marks": marks_around_empty(products),
            "added": median(1e6 * (c - b) for _, b, c in samples),
            "empty": one,
        }


def marks_around_empty(products: Call) -> float:
    """From a mark to the next with an empty kernel between them."""
    marks = Marks(DEVICE)
    clock = GraphClock([joined(products, marks.around(empty))], DEVICE)
    many = clock.calls_per_sample
    return 1e6 * median((clock.sample(), marks.seconds(many))[1] for _ in range(SAMPLES))


def microseconds(clock: Clock) -> float:
    samples = [clock.sample() for _ in range(SAMPLES)]
    return 1e6 * median(samples[SAMPLES // 6 :])


def joined(first: Call, then: Call) -> Call:
    def run() -> None:
        first()
        then()

    return run


def traces(case: Case, calls: Sequence[Call]) -> dict[str, Any]:
    """By CUPTI: the span of the call's kernels, and every kernel with and without the call."""
    with torch.inference_mode():
        products = products_of(case, DEVICE)
        ours = {trimmed(each.name) for each in recorded(calls[0])}
        with_call = replayed([joined(products, call) for call in islice(cycle(calls), CALLS)])
        without = replayed([products] * CALLS)
    listed = {"with": by_place(with_call), "without": by_place(without)}
    rest = [each for each in listed["with"] if each["name"] not in ours]
    return {
        "CUPTI": 1e-3 * median(spans(with_call, ours)),
        "products longer": total(rest, "us") - total(listed["without"], "us"),
        "gaps longer": total(rest, "gap") - total(listed["without"], "gap"),
        "kernels": [
            {"graph": graph, "kernel": each["name"][:60], "us": each["us"], "gap": each["gap"]}
            for graph, kernels in listed.items()
            for each in kernels
        ],
    }


def total(kernels: Sequence[dict[str, Any]], name: str) -> float:
    return float(sum(each[name] for each in kernels))


def replayed(works: Sequence[Call]) -> list[Activity]:
    """What the replays of a graph of these works ran."""
    works[0]()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for work in works:
            work()
    for _ in range(REPLAYS):
        graph.replay()
    return recorded(lambda: [graph.replay() for _ in range(REPLAYS)])


def by_place(activities: Sequence[Activity]) -> list[dict[str, Any]]:
    """The kernels of one work in their order: median duration, and gap to the one before."""
    replays = defaultdict(list)
    for each in activities:
        replays[each.launch].append(each)
    places = defaultdict(list)
    for listed in replays.values():
        listed.sort(key=lambda each: each.start)
        period = len(listed) // CALLS
        for at in range(period, len(listed)):  # the first work has none before it
            before, here = listed[at - 1], listed[at]
            places[at % period].append((trimmed(here.name), here, here.start - before.end))
    return [
        {
            "name": each[0][0],
            "us": 1e-3 * median(a.end - a.start for _, a, _ in each),
            "gap": 1e-3 * median(gap for *_, gap in each),
        }
        for _, each in sorted(places.items())
    ]


if __name__ == "__main__":
    main()
