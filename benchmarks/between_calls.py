"""Decodes with other work between the calls: python benchmarks/between_calls.py [--output FILE]

A graph of nothing but calls of one kernel lets programmatic dependent launch overlap each call with
the end of the one before, and finds the kernel's instructions in the caches of the SMs. In a model
a layer's products stand between two attention calls. Each kind of work below is put before every
call of a graph, and CUPTI times the attention kernels alone, from the first start to the last end.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from attnbench.kernels.base import Prepared, Refused
from attnbench.kernels.mutants.trial import made_ready
from attnbench.provenance.machine import read_machine
from attnbench.running.memory import working_sets
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Value
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.timing.activity import Activity, recorded, trimmed
from attnbench.timing.cuda import GraphClock

DEVICE = "cuda:0"
SETS, REPLAYS, SAMPLES = 4, 12, 30
REQUESTS, HIDDEN = 64, 4096
SERVED: dict[str, dict[str, Value]] = {
    "flash": {"max_model_len": 131072},
    "triton": {"max_model_len": 131072},
    "flashinfer": {"max_model_len": 131072, "decode_kernel": "served"},
    "flashmla": {"max_model_len": 163840},
    "flashattn_mla": {"max_model_len": 163840},
}
SPECS = ("64q1kv1k", "64q1kv4k", "5q1kv4k")
Work = Callable[[], object]


def main() -> None:
    given = asked(__doc__, SPECS)
    recorded(lambda: torch.zeros(1, device=DEVICE))  # CUPTI has to be there before a capture
    kinds, found = dict(works()), []
    for backend in given.backends:
        for spec in given.specs:
            found.append(line(backend, spec, kinds))
            if given.output:
                given.output.write_text(json.dumps(found, indent=1))
    print(tabulate(found, headers="keys", floatfmt=".1f"))


def asked(description: str | None, specs: Sequence[str]) -> argparse.Namespace:
    """The backends, the batches and the file for the results."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--backends", nargs="+", choices=SERVED, default=list(SERVED))
    parser.add_argument("--specs", nargs="+", default=specs)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def works() -> Iterator[tuple[str, Work]]:
    """Kinds of work: by what they leave in the L2 and in the caches of instructions."""
    small, large = (torch.zeros(size, device=DEVICE) for size in (2**20, 2**26))
    yield "an addition of 4 MiB", lambda: small.add_(1)
    yield "reading 256 MiB", large.sum
    yield "writing 256 MiB", lambda: large.fill_(1)
    yield "30 small kernels", small_kernels()
    yield "a layer's products", products()


def small_kernels() -> Work:
    """Many kernels of much code over little data."""
    rows = torch.randn(REQUESTS, 512, device=DEVICE)
    kinds = [rows.to(dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)]

    def run() -> None:
        for each in kinds:
            each @ each.T
            torch.nn.functional.layer_norm(each, (512,))
            each.softmax(-1)
            each.cumsum(-1)
            each.sort(-1)
            each.topk(8)
            each.exp().log1p().erf().tanh()
            each.std(-1)

    return run


def products() -> Work:
    """The matrix products of DeepSeek's attention layer, and the joining of its queries."""
    sizes = [(HIDDEN, 2112), (1536, 24576), (16384, HIDDEN), (HIDDEN, 2048)]
    weights = [torch.randn(size, device=DEVICE, dtype=torch.bfloat16) for size in sizes]
    rows = [each.new_ones(REQUESTS, each.shape[0]) for each in weights]
    nope = weights[0].new_ones(128, REQUESTS, 128)
    up = torch.randn(128, 128, 512, device=DEVICE, dtype=torch.bfloat16)
    rope = nope.new_ones(REQUESTS, 128, 64)

    def run() -> None:
        for row, weight in zip(rows, weights, strict=True):
            row @ weight
        latent = torch.bmm(nope, up).transpose(0, 1)
        torch.cat([latent, rope], dim=-1)

    return run


def case_of(backend: str, spec: str, knobs: Mapping[str, Value]) -> Case:
    """A case of the model that all of these use in its family."""
    mla = "mla" in backend
    return Case(
        "mla" if mla else "attn",
        backend,
        parse_batch_spec(spec),
        MlaShape(128) if mla else AttnShape(32, 8, 128),
        "bf16",
        knobs=tuple(knobs.items()),
    )


def line(backend: str, spec: str, kinds: dict[str, Work]) -> dict[str, Any]:
    """One case, microseconds a call."""
    case = case_of(backend, spec, SERVED[backend])
    found: dict[str, Any] = {"backend": backend, "spec": spec}
    try:
        with torch.inference_mode():
            calls = made_ready(case, read_machine(DEVICE), SETS, seed=0).calls
            clock = GraphClock(calls, DEVICE)
            samples = [clock.sample() for _ in range(2 * SAMPLES)]
            found["back to back"] = 1e6 * median(samples[SAMPLES:])
            kernels = {trimmed(each.name) for each in recorded(calls[0])}
            for name, work in kinds.items():
                found[name] = 1e-3 * spanned(calls, work, kernels)
    except Refused as refused:
        return found | {"refused": str(refused)}
    torch.cuda.empty_cache()
    return found


def made_cold(case: Case) -> Prepared:
    """The case prepared with as many sets as are cold. Raises Refused."""
    machine = read_machine(DEVICE)
    return made_ready(case, machine, working_sets(case, machine), seed=0)


def spanned(calls: Sequence[Work], work: Work, kernels: set[str]) -> float:
    """The median nanoseconds of a call's kernels in a graph of the work before each call."""
    work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            work()
            call()
    for _ in range(REPLAYS):
        graph.replay()
    activities = recorded(lambda: [graph.replay() for _ in range(REPLAYS)])
    return median(spans(activities, kernels))


def spans(activities: Sequence[Activity], kernels: set[str]) -> list[int]:
    """Nanoseconds of each stretch of these kernels."""
    stretches = groupby(activities, lambda each: trimmed(each.name) in kernels)
    listed = [list(each) for ours, each in stretches if ours]
    return [max(each.end for each in one) - one[0].start for one in listed]


if __name__ == "__main__":
    main()
