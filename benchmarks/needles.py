"""Whether needles among random keys change times: python benchmarks/needles.py

Needs an NVIDIA GPU, vLLM and FlashInfer. Each of 20 cases is captured in one graph. Its inputs are
exchanged in place (with needles, without, without, with) every few milliseconds, so memory, graph
and clock are the same for both. The table has the ratio of times, with needles over without, and of
SM cycles, with 95 % intervals over these fours, and the largest relative L2 error of a row.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from math import exp, log
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from scipy.stats import t as student
from tabulate import tabulate

from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.check import check
from attnbench.kernels.inputs import raw
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.running.memory import working_sets
from attnbench.running.timers import Timing
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from attnbench.timing.method import Method

DEVICE = "cuda:0"
ORDER = (True, False, False, True)  # with needles or without
LEAD, SAMPLES = 3, 6  # replays after an exchange: untimed, timed
SEEDS = (0, 1)
LLAMA, GPT_OSS = AttnShape(32, 8, 128), AttnShape(64, 8, 64)
DEEPSEEK = MlaShape(16, 512, 128, 64, 128)
FP8: dict[str, Any] = {"kv_cache_dtype": "fp8"}
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
    ("mla", "flashmla", "32q1kv4k", DEEPSEEK, {"block_size": 64}),
    ("mla", "flashmla", "32q1kv4k", DEEPSEEK, {"block_size": 64, **FP8}),
    ("mla", "flashattn_mla", "32q1kv4k", DEEPSEEK, {}),
    ("mla", "flashattn_mla", "2q2k", DEEPSEEK, {}),
    ("prefill-trtllm", "fa3", "4q4k", LLAMA, {}),
    ("prefill-trtllm", "cudnn", "4q2k", LLAMA, {}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fours", type=int, default=12, help="for each of two seeds")
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    asked = parser.parse_args()
    machine, rows = read_machine(DEVICE), list[dict[str, Any]]()
    for case in CASES:
        rows.append(_row(machine, asked.fours, *case))
        print(" ".join(map(str, rows[-1].values())), flush=True)
        if asked.output is not None:
            facts = {"machine": machine.as_facts(), "fours": asked.fours, "cases": rows}
            asked.output.write_text(json.dumps(facts, indent=1))
    print(tabulate(rows, headers="keys", floatfmt=".4f"))


def _row(
    machine: Machine,
    fours: int,
    family: str,
    backend: str,
    spec: str,
    shape: Shape,
    options: dict[str, Any],
) -> dict[str, Any]:
    about = {"backend": backend, "batch": spec, "fields": " ".join(map(str, options.values()))}
    case = Case(family, backend, parse_batch_spec(spec), shape, "bf16", **options)
    try:
        with torch.inference_mode():
            found = [each for seed in SEEDS for each in _fours(case, machine, seed, fours)]
    except Exception as error:  # noqa: BLE001 - a backend may raise anything
        return about | {"failed": f"{type(error).__name__}: {error}"[:200]}
    return {
        **about,
        "us": 1e6 * median(four.seconds for four in found),
        **_ratio("time", [four.time for four in found]),
        **_ratio("cycles", [four.cycles for four in found]),
        "L2 error": max(four.errors[0] for four in found),
        "without": max(four.errors[1] for four in found),
    }


def _ratio(name: str, logs: list[float]) -> dict[str, float]:
    """The geometric mean and its 95 % interval, by Student's t."""
    half = float(student.ppf(0.975, len(logs) - 1)) * stdev(logs) / len(logs) ** 0.5
    middle = mean(logs)
    return {
        name: exp(middle),
        f"{name}, from": exp(middle - half),
        f"{name}, to": exp(middle + half),
    }


@dataclass(frozen=True, slots=True)
class Four:
    """Four blocks, with, without, without, with: logarithms of with over without."""

    seconds: float  # of a call without
    time: float
    cycles: float
    errors: tuple[float, float]  # of a row, with and without


def _fours(case: Case, machine: Machine, seed: int, count: int) -> Iterator[Four]:
    """So many of one graph, after one that is left out as the clock may still change."""
    backend = find(case.family, case.backend)
    setting = Setting(machine.device, working_sets(case, machine), seed)
    prepared = backend.prepare(case, setting)
    data = Exchange(prepared, backend.prepare(replace(case, kv_data="normal"), setting))
    errors = _error(prepared, data, seed, True), _error(prepared, data, seed, False)
    timing = Timing.of(Method("cudagraph"), prepared, machine)
    for at in range(count + 1):
        blocks = [_block(timing, data, needles) for needles in ORDER]
        seconds, cycles = zip(*blocks, strict=True)
        if at:
            yield Four(median(seconds[1:3]), _log_ratio(seconds), _log_ratio(cycles), errors)


def _log_ratio(four: tuple[float, ...]) -> float:
    with_, without, again, last = map(log, four)
    return (with_ - without - again + last) / 2


def _error(prepared: Prepared, data: "Exchange", seed: int, needles: bool) -> float:
    """The largest error of a row with these inputs. Raises WrongResult if the call has others."""
    data.put(needles)
    prepared.calls[0]()
    return check(prepared, seed).relative_l2


def _block(timing: Timing, data: "Exchange", needles: bool) -> tuple[float, float]:
    """Seconds and SM cycles of a call: the medians of a few replays."""
    data.put(needles)
    for _ in range(LEAD):
        timing.clock.sample()
    assert timing.stamps is not None
    timing.stamps.start()
    seconds = median(timing.clock.sample() for _ in range(SAMPLES))
    return seconds, seconds * median(timing.stamps.clocks())


class Exchange:
    """Puts the inputs of a prepared case, or those of another, into the memory that it reads."""

    def __init__(self, prepared: Prepared, without: Prepared) -> None:
        pairs = zip(_tensors(prepared, set()), _tensors(without, set()), strict=True)
        differ = [(into, other) for into, other in pairs if not raw(into).equal(raw(other))]
        self._into = [into for into, _ in differ]
        self._with = [into.clone() for into in self._into]
        self._without = [other for _, other in differ]

    def put(self, needles: bool) -> None:
        """Copy them, of all sets."""
        for into, other in zip(self._into, self._with if needles else self._without, strict=True):
            into.copy_(other)


def _tensors(held: Any, seen: set[int]) -> list[torch.Tensor]:
    """All tensors that an object of attnbench holds, in the order in which it has them."""
    if id(held) in seen:
        return []
    seen.add(id(held))
    if isinstance(held, torch.Tensor):
        return [held]
    if isinstance(held, dict):
        parts = list(held.values())
    elif isinstance(held, list | tuple):
        parts = list(held)
    elif not type(held).__module__.startswith("attnbench"):
        return []
    elif is_dataclass(held):
        parts = [getattr(held, field.name) for field in fields(held)]
    else:
        parts = list(getattr(held, "__dict__", {}).values())
    return [tensor for part in parts for tensor in _tensors(part, seen)]


if __name__ == "__main__":
    main()
