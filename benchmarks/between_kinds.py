"""Which neighbour lengthens a decode in a server: python benchmarks/between_kinds.py

Before each call of a graph stands one kernel of another kind: an addition, a write, a read of
other memory, reads over 60 GB that replace what the TLB holds, a GEMM, the copy that writes the
call's own queries. CUPTI gives the attention kernels' own times, from the first one's start to the
last one's end, so the neighbour's time is not in them. Needs an NVIDIA GPU, vLLM and FlashInfer.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Scope
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.timing.activity import Activity, recorded

DEVICE = "cuda:0"
SETS, REPLAYS, WARM_UP = 4, 5, 20
ATTENTION = ("flash_fwd", "kernel_mha", "FlashAttnFwd", "unified_attention", "reduce_segments")
MIB = 2**20
Neighbour = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=["flashmla", "flashinfer", "flash"])
    parser.add_argument("--specs", nargs="+", default=["64q1kv1k", "64q1kv4k"])
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    recorded(lambda: torch.zeros(1, device=DEVICE))  # CUPTI sees graphs captured from here on
    neighbours = made()
    found = [
        line(backend, spec, scope, name, neighbour)
        for backend in given.backends
        for spec in given.specs
        for scope in ("kernel", "layer")
        for name, neighbour in neighbours.items()
        if scope == "kernel" or name == "nothing"
    ]
    print(tabulate(found, headers="keys", floatfmt=".1f"))
    if given.output:
        given.output.write_text(json.dumps(found, indent=1))


def made() -> dict[str, Neighbour | None]:
    """By name the kernels that stand before each call."""
    small = torch.zeros(MIB, device=DEVICE)
    large = torch.zeros(32 * MIB, device=DEVICE)
    wide = torch.empty(60 * 1024 * MIB, dtype=torch.uint8, device=DEVICE)[:: 2 * MIB]
    left = torch.randn(64, 7168, device=DEVICE, dtype=torch.bfloat16)
    right = torch.randn(7168, 16384, device=DEVICE, dtype=torch.bfloat16)
    queries = torch.randn(64, 128, 576, device=DEVICE, dtype=torch.bfloat16)
    return {
        "nothing": None,
        "adds to 4 MiB": lambda: small.add_(1),
        "writes 9 MiB": lambda: torch.cat((queries[..., :512], queries[..., 512:]), -1),
        "writes 40 MiB": lambda: large[: 10 * MIB].fill_(1),
        "reads 128 MiB": large.sum,
        "touches 60 GB": lambda: wide.sum(dtype=torch.int64),
        "GEMM, 235 MB of weights": lambda: left @ right,
    }


def line(
    backend: str, spec: str, scope: Scope, name: str, neighbour: Neighbour | None
) -> dict[str, Any]:
    """One case, microseconds a call: spans of its attention kernels, and the kernel before."""
    mla = "mla" in backend
    shape = MlaShape(128) if mla else AttnShape(32, 8, 128)
    knobs = {"max_model_len": 163840 if mla else 131072}
    served = {"decode_kernel": "served"} if backend == "flashinfer" else {}
    case = Case(
        "mla" if mla else "attn",
        backend,
        parse_batch_spec(spec),
        shape,
        "bf16",
        scope=scope,
        knobs=tuple((knobs | served).items()),
    )
    with torch.inference_mode():
        calls = find(case.family, backend).prepare(case, Setting(DEVICE, SETS, seed=0)).calls
        spans = spans_of(calls, neighbour)
    torch.cuda.empty_cache()
    names = {"backend": backend, "spec": spec, "scope": scope, "before each call": name}
    return names | {"span": median(spans), "least": min(spans), "most": max(spans)}


def spans_of(calls: Sequence[Callable[[], object]], neighbour: Neighbour | None) -> list[float]:
    """Microseconds from the first to the last attention kernel of each call."""
    graph = torch.cuda.CUDAGraph()
    for call in calls:
        call()
    torch.cuda.synchronize()
    kept = []
    with torch.cuda.graph(graph):
        for call in calls:
            if neighbour:
                kept.append(neighbour())
            kept.append(call())
    for _ in range(WARM_UP):
        graph.replay()
    seen = sorted(recorded(lambda: [graph.replay() for _ in range(REPLAYS)]), key=lambda a: a.start)
    attention = [one for one in seen if any(part in one.name for part in ATTENTION)]
    if not attention:
        raise SystemExit(f"no attention kernel among {sorted({one.name for one in seen})}")
    a_call = len(attention) // (len(calls) * REPLAYS)
    return [span(attention[i : i + a_call]) for i in range(0, len(attention), a_call)]


def span(kernels: Sequence[Activity]) -> float:
    return (max(each.end for each in kernels) - min(each.start for each in kernels)) * 1e-3


if __name__ == "__main__":
    main()
