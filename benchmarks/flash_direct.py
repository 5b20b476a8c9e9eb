"""Driving vLLM's FlashAttention beside calling it directly: python benchmarks/flash_direct.py

Needs an NVIDIA GPU and vLLM. One host, shape, cache state and timer, all taking turns. The direct
calls read the same pages, or as many keys and values without pages, and leave splits and schedule
to the kernel.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from attnbench.families import cost
from attnbench.kernels.base import Setting
from attnbench.kernels.check import check
from attnbench.kernels.registry import find
from attnbench.kernels.vllm.attention_prepared import VllmPrepared
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.memory import working_sets
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.cuda import GraphClock
from attnbench.timing.measure import measure
from attnbench.timing.method import Method
from attnbench.timing.sentinels import measure_sentinels

Calls = Sequence[Callable[[], object]]

DEVICE = "cuda:0"
SHAPE = AttnShape(64, 8, 128)
CASES = [("q8k", 16), ("q8k", 256), ("64q1kv4k", 16), ("64q1kv4k", 256), ("8q1kv1k", 16)]
TURNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    output: Path | None = parser.parse_args().output
    machine = read_machine(DEVICE)
    copy = measure_sentinels(DEVICE).bytes_per_second
    with torch.inference_mode():
        rows = [beside(spec, block_size, machine) for spec, block_size in CASES]
    print(tabulate([shown(row, copy) for row in rows], headers="keys", floatfmt=".4g"))
    print("the last three: of what attnbench timed; copy is this GPU's measured rate")
    if output is not None:
        facts = {"machine": machine.as_facts(), "copy": copy, "cases": rows}
        output.write_text(json.dumps(facts, indent=1))


def beside(spec: str, block_size: int, machine: Machine) -> dict[str, Any]:
    """Seconds a call of each variant, medians over turns, with what vLLM chose."""
    case = Case("attn", "flash", parse_batch_spec(spec), SHAPE, "bf16", block_size=block_size)
    work = cost(case, find("attn", "flash").num_decode(case))
    sets = working_sets(case, machine)
    ready = find("attn", "flash").prepare(case, Setting(DEVICE, sets, seed=0))
    assert isinstance(ready, VllmPrepared)
    check(ready, seed=0)
    variants: dict[str, Calls] = {
        "attnbench": ready.calls,
        "direct": [direct(ready, index) for index in range(sets)],
        "direct, no pages": [dense(ready, index) for index in range(sets)],
    }
    clocks = {name: GraphClock(calls, DEVICE) for name, calls in variants.items()}
    turns = [{name: sampled(clock) for name, clock in clocks.items()} for _ in range(TURNS)]
    return {
        "batch": spec,
        "sets": sets,
        "flops": work.flops,
        "bytes": work.bytes,
        "resolved": dict(ready.resolved),
        "seconds": {name: median(turn[name] for turn in turns) for name in variants},
        "ratio": median(turn["attnbench"] / turn["direct"] for turn in turns),
        "turns": turns,
    }


def sampled(clock: GraphClock) -> float:
    """The median that the project would store."""
    return median(measure(clock, Method("cudagraph", time_budget=0.3), time.perf_counter).values)


def common(ready: VllmPrepared, index: int) -> dict[str, Any]:
    """The arguments that every direct call shares."""
    batch = ready.case.batch
    return {
        "q": ready.queries[index],
        "out": torch.empty_like(ready.queries[index]),
        "cu_seqlens_q": ends([request.q_len for request in batch]),
        "max_seqlen_q": batch.max_q_len,
        "max_seqlen_k": batch.max_kv_len,
        "softmax_scale": ready.scale,
        "causal": True,
        "fa_version": ready.resolved["flash_version"],
    }


def direct(ready: VllmPrepared, index: int) -> Callable[[], object]:
    """The kernel over the pages of the set."""
    from vllm.vllm_flash_attn import flash_attn_varlen_func

    keys, values = ready.caches.views[index].unbind(1)
    lengths = torch.tensor([r.kv_len for r in ready.case.batch], dtype=torch.int32, device=DEVICE)
    return partial(
        flash_attn_varlen_func,
        k=keys,
        v=values,
        seqused_k=lengths,
        block_table=ready.caches.tables.tables[0],
        **common(ready, index),
    )


def dense(ready: VllmPrepared, index: int) -> Callable[[], object]:
    """The kernel over keys and values of the same sizes, request after request."""
    from vllm.vllm_flash_attn import flash_attn_varlen_func

    lengths = [request.kv_len for request in ready.case.batch]
    sizes = (2, sum(lengths), SHAPE.num_kv_heads, SHAPE.head_dim)
    keys, values = torch.randn(sizes, dtype=torch.bfloat16, device=DEVICE)
    given = {"k": keys, "v": values, "cu_seqlens_k": ends(lengths)}
    return partial(flash_attn_varlen_func, **given, **common(ready, index))


def ends(lengths: Sequence[int]) -> torch.Tensor:
    """Where each request starts, and the end of the last."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=DEVICE)


def shown(row: dict[str, Any], copy: float) -> dict[str, Any]:
    """A line of the table: microseconds and rates."""
    taken = row["seconds"]["attnbench"]
    return {
        "batch": row["batch"],
        "page": row["resolved"]["block_size"],
        "FA": row["resolved"]["flash_version"],
        "splits": row["resolved"].get("max_num_splits", "heuristic"),
        **{name: 1e6 * seconds for name, seconds in row["seconds"].items()},
        "attnbench/direct": row["ratio"],
        "TFLOP/s": row["flops"] / taken / 1e12,
        "GB/s": row["bytes"] / taken / 1e9,
        "% of copy": 100 * row["bytes"] / taken / copy,
    }


if __name__ == "__main__":
    main()
