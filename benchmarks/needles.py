"""Whether needles among random keys change times: python benchmarks/needles.py

Needs an NVIDIA GPU, vLLM and FlashInfer. Each of 20 cases is measured with needles and without, in
the order A B B A, from the same seeds. The table has the ratio of times and of SM cycles, which
count where power limits the clock, and the largest relative L2 error of a row, with and without.
"""

import argparse
import json
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from statistics import mean, median
from typing import Any

from tabulate import tabulate

from attnbench.provenance.machine import Machine, read_machine
from attnbench.records import Outcome, Status
from attnbench.running.execute import execute
from attnbench.running.messages import Job
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, KvData
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from attnbench.timing.guard import GpuGuard
from attnbench.timing.method import Method

DEVICE = "cuda:0"
ORDER: tuple[KvData, ...] = ("random", "normal", "normal", "random") * 2
LLAMA, GPT_OSS = AttnShape(32, 8, 128), AttnShape(64, 8, 64)
DEEPSEEK = MlaShape(16, 512, 128, 64, 128)
FP8: dict[str, Any] = {"kv_cache_dtype": "fp8"}
FP8_QKV: dict[str, Any] = {"kv_cache_dtype": "fp8", "query_dtype": "fp8"}
CASES: list[tuple[str, str, str, Shape, dict[str, Any]]] = [
    ("attn", "flash", "q2k", LLAMA, {}),
    ("attn", "flash", "8q1kv1k", LLAMA, {}),
    ("attn", "flash", "64q1kv4k", LLAMA, {}),
    ("attn", "flash", "q1kv128k", LLAMA, {}),
    ("attn", "flash", "q8k", LLAMA, {}),
    ("attn", "flash", "64q1kv4k", LLAMA, FP8),
    ("attn", "flash", "q4k", LLAMA, FP8),
    ("attn", "flash", "32q1kv4k", GPT_OSS, {"window": 128, "sinks": True}),
    ("attn", "triton", "8q1kv1k", LLAMA, {}),
    ("attn", "triton", "2q2k_32q1kv1k", LLAMA, {}),
    ("attn", "flashinfer", "64q1kv4k", LLAMA, {}),
    ("attn", "flashinfer-fa2", "64q1kv4k", LLAMA, {}),
    ("attn", "flashinfer-fa3", "2q2k", LLAMA, {}),
    ("attn", "sdpa", "q2k", LLAMA, {}),
    ("prefill-trtllm", "fa3", "4q4k", LLAMA, FP8_QKV),
    ("prefill-trtllm", "trtllm-fmha-v2", "4q2k", LLAMA, {}),
    ("mla", "flashmla", "32q1kv4k", DEEPSEEK, {"block_size": 64}),
    ("mla", "flashmla", "32q1kv4k", DEEPSEEK, {"block_size": 64, **FP8}),
    ("mla", "flashattn_mla", "32q1kv4k", DEEPSEEK, {}),
    ("mla", "flashattn_mla", "2q2k", DEEPSEEK, {}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    output: Path | None = parser.parse_args().output
    machine = read_machine(DEVICE)
    guard = GpuGuard(machine.gpu_uuid)
    rows = [_row(machine, guard, *case) for case in CASES]
    print(tabulate(rows, headers="keys", floatfmt=".4f"))
    if output is not None:
        output.write_text(json.dumps({"machine": machine.as_facts(), "cases": rows}, indent=1))


def _row(
    machine: Machine,
    guard: GpuGuard,
    family: str,
    backend: str,
    spec: str,
    shape: Shape,
    fields: dict[str, Any],
) -> dict[str, Any]:
    about = {"backend": backend, "batch": spec, "fields": " ".join(map(str, fields.values()))}
    found: dict[str, list[Outcome]] = {"random": [], "normal": []}
    for at, kv_data in enumerate(ORDER):
        batch = parse_batch_spec(spec)
        case = Case(family, backend, batch, shape, "bf16", kv_data=kv_data, **fields)
        job = Job(case, Method("cudagraph"), at // 2, None, profile_memory=False, host=False)
        outcome = execute(job, machine, guard.look, _unheard)
        if outcome.status is not Status.OK:
            return about | {"failed": f"{kv_data}: {outcome.reason}"}
        found[kv_data].append(outcome)
    with_needles, without = found["random"], found["normal"]
    return about | {
        "us": 1e6 * _mean(without, _seconds),
        "time": _mean(with_needles, _seconds) / _mean(without, _seconds),
        "cycles": _mean(with_needles, _cycles) / _mean(without, _cycles),
        "L2 error": max(each.errors["relative_l2"] for each in with_needles),
        "without": max(each.errors["relative_l2"] for each in without),
    }


def _unheard(phase: str) -> None:
    """Nobody waits for the phases of a job here."""


def _mean(outcomes: list[Outcome], of: Callable[[Outcome], float]) -> float:
    """The geometric mean over the rounds."""
    return exp(mean(log(of(each)) for each in outcomes))


def _seconds(outcome: Outcome) -> float:
    return median(outcome.samples)


def _cycles(outcome: Outcome) -> float:
    return _seconds(outcome) * outcome.guard["sm_clock_hz_median"]


if __name__ == "__main__":
    main()
