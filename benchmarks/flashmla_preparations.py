"""How far FlashMLA's hot time varies by preparation, in vLLM's own suite and in ours.

    python benchmarks/flashmla_preparations.py --suite FOLDER [--out FILE]

Needs an H100 or H200, vLLM, and a checkout of its benchmarks/attention_benchmarks. Each takes the
same decodes, the cache full of zeros as the suite has it, prepared anew several times: each time
some more memory is held before, so that what is prepared lies elsewhere.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from flashmla_direct import DEVICE, flashmla, seconds
from tabulate import tabulate

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find

SPECS = ("32q1kv1k", "64q1kv1k", "16q1kv4k")
PREPARATIONS = 12
STEP = 22 * 2**20  # bytes more that are held each time: no power of two
HEADS, BLOCK, LAYERS = 128, 64, 10  # the suite's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", type=Path, required=True, help="vLLM's attention_benchmarks")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    sys.path.insert(0, str(options.suite))
    rows = [row for spec in SPECS for row in rows_of(spec)]
    print(tabulate([shown(row) for row in rows], headers="keys", disable_numparse=True))
    print(f"microseconds a call, {PREPARATIONS} preparations each; the suite's are its means")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


def rows_of(spec: str) -> list[dict[str, Any]]:
    """Seconds of each preparation, by the suite and by ours."""
    turns: dict[str, Callable[[], float]] = {
        "suite": partial(by_the_suite, spec),
        "ours, its conditions": partial(by_ours, spec),
    }
    found: dict[str, list[float]] = {name: [] for name in turns}
    held = []
    for _ in range(PREPARATIONS):
        held.append(torch.empty(STEP, dtype=torch.uint8, device=DEVICE))
        for name, turn in turns.items():
            found[name].append(turn())
            torch.cuda.empty_cache()
    return [{"spec": spec, "by": name, "seconds": taken} for name, taken in found.items()]


def by_the_suite(spec: str) -> float:
    """The mean that it reports, seconds a layer."""
    common, runner = (importlib.import_module(name) for name in ("common", "mla_runner"))
    config = common.BenchmarkConfig(
        backend="FLASHMLA",
        batch_spec=spec.replace("kv", "s"),
        num_layers=LAYERS,
        head_dim=576,
        num_q_heads=HEADS,
        num_kv_heads=1,
        block_size=BLOCK,
        device=DEVICE,
        use_cuda_graphs=True,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
    )
    return float(runner.run_mla_benchmark("FLASHMLA", config).mean_time)


def by_ours(spec: str) -> float:
    """The median of our replays, hot, seconds a call."""
    case = replace(
        flashmla(spec, HEADS), kv_data="zeros", page_order="contiguous", block_size=BLOCK
    )
    with torch.inference_mode():
        prepared = find("mla", "flashmla").prepare(case, Setting(DEVICE, 1, seed=0))
        prepared.calls[0]()
        return seconds(list(prepared.calls))[0]


def shown(row: dict[str, Any]) -> dict[str, str]:
    """A line of the table."""
    taken = row["seconds"]
    numbers = {"lowest": min(taken), "median": median(taken), "highest": max(taken)}
    line = {"batch": row["spec"], "by": row["by"]}
    return line | {name: f"{1e6 * value:.1f}" for name, value in numbers.items()}


if __name__ == "__main__":
    main()
