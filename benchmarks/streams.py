"""When kernels take longer: python benchmarks/streams.py [--out FILE]

Needs an NVIDIA GPU. A fresh process each: kernels on so many streams, then graphs one after another
of a tiny addition and of a short decode, and the same calls without a graph. Plain graphs and
events behind a spin: attnbench's own clocks would use the streams themselves.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

DEVICE = "cuda:0"
# That a process uses before its first graph.
STREAMS = {"addition": (0, 1, 2, 3, 4, 8, 16, 32), "decode": (0, 16)}
GRAPHS = 6  # then made by it, one after another
SETS, SPEC = 6, "8q1kv1k"  # of the decode; so many sets keep it cold
CALLS = 72
SPIN, LONG_SPIN = 400_000, 20_000_000  # cycles; the long one hides single launches
SAMPLES = 20

Call = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    out: Path | None = parser.parse_args().out
    rows = []
    for kind in (addition, decode):
        for streams in STREAMS[kind.__name__]:
            with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                rows.append(fresh.submit(row, kind, streams).result())
    graphs = [f"graph {at + 1}" for at in range(GRAPHS)]
    table = [
        [each["kernel"], each["streams"], *each["graphs_us"], *each["single_us"]] for each in rows
    ]
    headers = ["kernel", "streams", *graphs, "single before", "single after"]
    print(tabulate(table, headers=headers, floatfmt=".3f"))
    print("microseconds a call")
    if out is not None:
        facts = {"machine": read_machine(DEVICE).as_facts(), "rows": rows}
        out.write_text(json.dumps(facts, indent=1))


def row(kind: Callable[[], Sequence[Call]], streams: int) -> dict[str, Any]:
    """What a call takes in each graph, and outside one before the first and after the last."""
    with torch.inference_mode():
        calls = kind()
        for _ in range(streams):
            with torch.cuda.stream(torch.cuda.Stream()):
                torch.zeros(1, device=DEVICE)
        torch.cuda.synchronize()
        before = singly(calls)
        graphs = [in_graph(calls) for _ in range(GRAPHS)]
        return {
            "kernel": kind.__name__,
            "streams": streams,
            "graphs_us": graphs,
            "single_us": [before, singly(calls)],
        }


def addition() -> Sequence[Call]:
    """One kernel that does next to nothing."""
    numbers = torch.zeros(1024, device=DEVICE)
    numbers.add_(1)
    return [lambda: numbers.add_(1)]


def decode() -> Sequence[Call]:
    """SDPA on a short batch: two kernels a call."""
    case = Case("attn", "sdpa", parse_batch_spec(SPEC), AttnShape(32, 8, 128), "bf16")
    calls = find("attn", "sdpa").prepare(case, Setting(DEVICE, SETS, 0, True)).calls
    for call in calls:
        call()
    return calls


def in_graph(calls: Sequence[Call]) -> float:
    """Microseconds a call in a new graph of many."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for at in range(CALLS):
            calls[at % len(calls)]()
    return between_events(graph.replay, SPIN)


def singly(calls: Sequence[Call]) -> float:
    """Microseconds a call of as many, launched one by one."""

    def launch() -> None:
        for at in range(CALLS):
            calls[at % len(calls)]()

    return between_events(launch, LONG_SPIN)


def between_events(enqueue: Call, spin: int) -> float:
    """The median microseconds a call, of what is enqueued behind so long a spin."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    taken = []
    for _ in range(SAMPLES):
        torch.cuda._sleep(spin)
        start.record()
        enqueue()
        end.record()
        end.synchronize()
        taken.append(float(start.elapsed_time(end)) * 1e3 / CALLS)
    return median(taken)


if __name__ == "__main__":
    main()
