"""Our numbers for FlashMLA's dense decode beside a direct call of its kernel, and beside its own.

    python benchmarks/flashmla_direct.py [--out FILE]

The direct call is `flash_mla_with_kvcache` on plain tensors, over the same working sets: cold, of
the same shape, timed from the same kind of graph. FlashMLA's authors publish 660 TFLOP/s (compute
bound) and 3000 GB/s (memory bound) for their best cases on an H800, the combine kernel not counted.
Then the crossover: at which q_len prefill beats decode, at scope layer and at scope kernel.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from attnbench.families import cost
from attnbench.kernels.base import Setting
from attnbench.kernels.check import check
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.running.memory import working_sets
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Scope
from attnbench.specs.shape import MlaShape
from attnbench.timing.cuda import GraphClock
from attnbench.timing.measure import warm_up
from attnbench.timing.method import Method
from attnbench.timing.sm_clock import sm_clock

if TYPE_CHECKING:
    import torch

DEVICE = "cuda:0"
SPECS = ("128q1kv4k", "128q2kv8k")
HEADS = (128, 16)
PUBLISHED = {"tflops": 660.0, "gbps": 3000.0}
SAMPLES = 30
CROSSOVER = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # new tokens of each of 16 requests, context 1k


def flashmla(spec: str, heads: int, scope: Scope = "kernel", **knobs: int) -> Case:
    batch = parse_batch_spec(spec)
    return Case(
        "mla", "flashmla", batch, MlaShape(heads), "bf16", scope=scope, knobs=tuple(knobs.items())
    )


def seconds(calls: list[Callable[[], object]]) -> tuple[float, float, list[str]]:
    """Medians of replays, seconds per call and Hz of the SMs; and the kernels of the graph."""
    stamps = sm_clock(DEVICE)
    assert stamps is not None
    clock = GraphClock(calls, DEVICE, stamps)
    for _ in range(10):
        clock.sample()
    stamps.start()
    taken = median(clock.sample() for _ in range(SAMPLES))
    return taken, median(stamps.clocks()), list(clock.kernels)


def direct_calls(prepared: Any) -> list[Callable[[], object]]:
    """The kernel's own entry over the working sets of a prepared case: no vLLM layer, no metadata.

    Every set has a schedule of its own, made by its first call, and keeps its last result, as
    ours do: cold calls write to cold memory.
    """
    calls: list[Callable[[], object]] = []
    results: dict[int, Any] = {}

    def launch(index: int, kernel: Callable[[], Any]) -> None:
        results.pop(index, None)
        results[index] = kernel()

    for index, queries in enumerate(prepared.decode_queries):
        kernel = kernel_call(prepared, index, queries, prepared.pool.stored)
        calls.append(partial(launch, index, kernel))
        calls[-1]()
    return calls


def kernel_call(
    prepared: Any, index: int, queries: "torch.Tensor", cache: "torch.Tensor"
) -> Callable[[], object]:
    """The kernel over one working set's pages, with a schedule that its first call makes.

    Queries [tokens, heads, latent], cache [pages, block size, latent].
    """
    from vllm.v1.attention.ops.flashmla import flash_mla_with_kvcache, get_mla_metadata

    decode = prepared.metadata[index].decode
    return partial(
        flash_mla_with_kvcache,
        q=queries.unflatten(0, (decode.seq_lens.shape[0], -1)),
        k_cache=cache.unsqueeze(2),
        block_table=decode.block_table,
        cache_seqlens=decode.seq_lens,
        head_dim_v=prepared.shape.kv_lora_rank,
        tile_scheduler_metadata=get_mla_metadata()[0],
        softmax_scale=prepared.scale,
        causal=True,
    )


def against_direct(spec: str, heads: int) -> dict[str, Any]:
    """Ours and the direct call, twice in turn, in seconds; rates of useful work.

    After 2 s of load: whoever came first would else have the clock of a GPU at rest.
    """
    import torch

    case, backend = flashmla(spec, heads), find("mla", "flashmla")
    prepared = _prepared(case)
    check(prepared, seed=0)
    calls = {"ours": list(prepared.calls), "direct": direct_calls(prepared)}
    found: dict[str, list[float]] = {"ours": [], "direct": []}
    clocks: dict[str, list[float]] = {"ours": [], "direct": []}
    kernels: dict[str, list[str]] = {}
    loaded = Method("cudagraph", regime="sustained")
    warm_up(GraphClock(calls["ours"], DEVICE), loaded, time.perf_counter)
    for who in ("ours", "direct", "direct", "ours"):
        taken, hertz, kernels[who] = seconds(calls[who])
        found[who].append(taken)
        clocks[who].append(hertz)
    work = cost(case, backend.num_decode(case))
    ours, direct = median(found["ours"]), median(found["direct"])
    torch.cuda.empty_cache()
    return {
        "spec": spec,
        "heads": heads,
        "sets": len(prepared.calls),
        "ours_s": ours,
        "direct_s": direct,
        "ratio": ours / direct,
        "sm_clock_hz": {who: median(each) for who, each in clocks.items()},
        "tflops": work.flops / ours / 1e12,
        "gbps": work.bytes / ours / 1e9,
        "published": PUBLISHED,
        "kernels": kernels,
    }


def crossover(heads: int) -> list[dict[str, Any]]:
    """Decode and prefill of the same requests by q_len, at both scopes, in seconds."""
    rows = []
    for q_len in CROSSOVER:
        spec = f"16q{q_len}kv{q_len + 1024}"
        row: dict[str, Any] = {"spec": spec, "heads": heads}
        for scope in ("layer", "kernel"):
            for path, threshold in (("decode", q_len), ("prefill", q_len - 1)):
                if threshold:
                    case = flashmla(spec, heads, scope, threshold=threshold)
                    row[f"{scope}_{path}_s"], *_ = seconds(list(_prepared(case).calls))
        rows.append(row)
    return rows


def _prepared(case: Case) -> Any:
    machine, backend = read_machine(DEVICE), find("mla", case.backend)
    if reason := backend.refusal(case, machine):
        raise SystemExit(f"{case.backend} {case.batch}: {reason}")
    return backend.prepare(case, Setting(DEVICE, working_sets(case, machine), seed=0))


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with torch.inference_mode():
        rows = [against_direct(spec, heads) for spec in SPECS for heads in HEADS]
        crossing = [row for heads in HEADS for row in crossover(heads)]
    print(
        "| case | heads | ours, us | direct, us | ours / direct | TFLOP/s | GB/s | SM clock, MHz |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        megahertz = [f"{each * 1e-6:.0f}" for each in row["sm_clock_hz"].values()]
        print(
            f"| {row['spec']} | {row['heads']} | {row['ours_s'] * 1e6:.1f} | "
            f"{row['direct_s'] * 1e6:.1f} | {row['ratio']:.3f} | {row['tflops']:.0f} | "
            f"{row['gbps']:.0f} | {' / '.join(megahertz)} |"
        )
    print(f"published, best cases on an H800: {PUBLISHED['tflops']:.0f} TFLOP/s, ", end="")
    print(f"{PUBLISHED['gbps']:.0f} GB/s\n")
    names = ("layer_decode_s", "layer_prefill_s", "kernel_decode_s", "kernel_prefill_s")
    print("| case | heads | layer: decode | prefill | kernel: decode | prefill |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in crossing:
        times = [f"{row[name] * 1e6:.1f}" if name in row else "-" for name in names]
        print(f"| {row['spec']} | {row['heads']} | {' | '.join(times)} |")
    if options.out:
        options.out.write_text(json.dumps({"direct": rows, "crossover": crossing}, indent=1) + "\n")


if __name__ == "__main__":
    main()
