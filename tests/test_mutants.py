"""Planted faults: each changes some case, and the check finds it there."""

from functools import partial
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.kernels.base import Setting
from attnbench.kernels.cache_write_base.requests import Requests
from attnbench.kernels.mutants.catalogue import FAULTS
from attnbench.kernels.mutants.memory import MEMORY_FAULTS
from attnbench.kernels.mutants.trial import HONEST, Trial, trials
from attnbench.kernels.registry import find
from attnbench.reporting.mutants import mutants_text, right
from attnbench.specs.case import Case
from tests.conftest import small_case

FEATURES: dict[str, Any] = {"window": 50, "softcap": 20.0, "sinks": True}
FP8: dict[str, Any] = {"query_dtype": "fp8", "kv_cache_dtype": "fp8"}
CASES = [
    small_case("attn", "naive", "4q1kv1k", block_size=16),
    small_case("attn", "naive", "2q64kv200", block_size=16, **FEATURES),
    small_case("attn", "sdpa", "q300"),
    small_case("mla", "torch-absorbed", "2q1kv300", scope="layer"),
    small_case("mla", "torch-absorbed", "2q1kv300", index_topk=40),
    small_case("prefill-trtllm", "torch", "2q100", "bf16", **FP8),
    small_case("cache-write", "torch", "3q5", "bf16"),
    small_case("cache-write", "torch", "3q5", "bf16", kv_cache_dtype="fp8"),
]
# Where vLLM's layers are; and errors no larger than those of an honest kernel in fp8.
ONLY_ON_A_GPU = {fault.name for fault in MEMORY_FAULTS[1:]}
AS_SMALL_AS_ROUNDING = {
    "8 splits merged with log-sum-exps in bf16",
    "values +5 %, last head only",
    *(f"softmax scale {percent}%" for percent in ("-2", "-1", "+1", "+2")),
    *(f"values {percent}%" for percent in ("-1", "+1")),
}


@pytest.fixture(scope="module")
def tried() -> list[Trial]:
    found = list[Trial]()
    with torch.inference_mode():
        for case in CASES:
            backend = find(case.family, case.backend)
            found += trials(case, partial(backend.prepare, case, Setting("cpu", 3, 0)), seed=0)
    return found


def test_every_fault_changes_some_case(tried: list[Trial]) -> None:
    assert {trial.fault for trial in tried} == {HONEST} | {f.name for f in FAULTS} - ONLY_ON_A_GPU


def test_every_fault_is_found_but_those_as_small_as_rounding(tried: list[Trial]) -> None:
    def may_pass(trial: Trial) -> bool:
        return trial.case.dtype == "bf16" and trial.fault in AS_SMALL_AS_ROUNDING

    assert [trial for trial in tried if not right(trial) and not may_pass(trial)] == []


def test_an_honest_kernel_stays_within_its_tolerance(tried: list[Trial]) -> None:
    shares = [trial.share for trial in tried if trial.fault == HONEST]
    assert len(shares) == len(CASES)
    assert max(shares) < 1


def test_kept_results_are_found_when_launched_again(tried: list[Trial]) -> None:
    kept = [trial for trial in tried if trial.fault == "results kept from the first call"]
    kept = [trial for trial in kept if trial.case.scope == "kernel"]  # no write is missing
    assert len(kept) == 5
    assert all(str(trial.finding).startswith("launched again with ") for trial in kept)


def test_kept_slots_are_found_in_a_kernel_that_reads_requests() -> None:
    """As FlashInfer's, which has no slots."""
    case = small_case("cache-write", "torch", "3q5", "bf16")

    def prepare() -> Any:
        ready: Any = find(case.family, case.backend).prepare(case, Setting("cpu", 3, 0))
        requests = ready.requests = Requests.of(ready.slots.pages, ready.slots.offsets)

        def launch(index: int) -> None:
            where = (requests.pages[index].long(), slice(None), requests.positions[index].long())
            ready.cache[where] = ready.new[index][:, : ready.num_tokens].transpose(0, 1)

        return ready.written_by(launch)

    fault = [fault for fault in FAULTS if fault.name == "slots kept from the first call"]
    with torch.inference_mode():
        honest, kept = trials(case, prepare, 0, fault)
    assert honest.finding is None
    assert str(kept.finding).startswith("launched again with new inputs")


def test_doctor_shows_the_check_at_work() -> None:
    result = CliRunner().invoke(cli, ["doctor", "--check", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "29 of 29 faults found." in result.output
    assert "note: planting faults, which takes half a minute or more" in result.stderr
    assert "\n  results kept from the first call" in result.output
    assert max(map(len, result.stdout.splitlines())) <= 80


CASE: Case = CASES[0]


@pytest.mark.parametrize(
    ("trial", "cells"),
    [
        (Trial(CASE, "zeros", "after timing: off", 12.3), ["zeros", "after timing", "12"]),
        (Trial(CASE, "zeros", None, 0.0), ["zeros", "NOT FOUND"]),
        (Trial(CASE, HONEST, None, 0.41), ["attn naive 4q1kv1k", "passes", "0.41"]),
        (Trial(CASE, "zeros", "5 rows hold NaN", float("inf")), ["zeros", "before timing"]),
    ],
)
def test_a_row_says_when_a_fault_was_found_and_by_how_much(trial: Trial, cells: list[str]) -> None:
    row = mutants_text([trial]).splitlines()[3]
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == cells


def test_a_kernel_that_fails_without_a_fault_is_said() -> None:
    text = mutants_text([Trial(CASE, HONEST, "a row is off", 1.5)])
    assert text.endswith("0 of 0 faults found. Kernels that fail without a fault: 1.")


def test_the_check_is_right_about_a_fault_that_it_finds_and_a_kernel_that_it_passes() -> None:
    judged = [
        right(Trial(CASE, fault, finding, 0.5))
        for fault in (HONEST, "zeros")
        for finding in (None, "a row is off")
    ]
    assert judged == [True, False, False, True]
