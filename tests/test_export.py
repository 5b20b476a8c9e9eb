"""Exported records: stable names, valid JSON, and nothing where nothing is known."""

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from attnbench.db.store import Store
from attnbench.records import Measurement, Run, Status
from attnbench.reporting.export import record, write_csv, write_json
from attnbench.timing.guard import SW_POWER_CAP, SW_THERMAL, Reading, guard_facts
from attnbench.timing.method import Method
from attnbench.timing.sentinels import Sentinels
from tests.stored_results import H200, attn, failed, mla, store_run, timed

NAMES = """
uuid run run_uuid started label branch commit dirty machine gpu_uuid hostname driver
torch_version triton_version vllm_version flashinfer_version attnbench_version
case_key workload_key family backend batch_spec num_requests num_tokens num_kv_tokens max_q_len
max_kv_len num_q_heads num_kv_heads head_dim kv_lora_rank qk_nope_head_dim qk_rope_head_dim
v_head_dim dtype kv_cache_dtype query_dtype output_dtype block_size layout scope
window softcap sinks index_topk topk_pattern kv_data page_order pool_gib inputs
scope_version knobs resolved method_key timer cache_asked method
round position status reason median_s low_s high_s num_samples labels errors durations_s
cache_state regime sets touched_bytes footprint_ratio flops bytes tflops gbps sm_cycles
calls_per_sample warmup_calls
decode_requests decode_tokens prefill_requests prefill_tokens peak_memory_bytes roofline of_measured
kernels kernel_s enqueue_s plan_s
sm_clock_before_hz sm_clock_after_hz sm_clock_median_hz sm_clock_lowest_hz
sm_clock_highest_hz memory_clock_hz temperature_c power_w mean_power_w energy_j
power_limited_share thermal_share gpu_processes marks_s clock_reasons
"""
# Two looks at a GPU that say all that a guard can.
BEFORE = Reading(1.98e9, 3.2e9, SW_POWER_CAP, 1.0, 2.0, 100.0, 650.0, 60, 1)
AFTER = Reading(1.9e9, 3.2e9, SW_THERMAL, 1.5, 2.0, 800.0, 690.0, 64, 1)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[list[Measurement], dict[int, Run]]:
    """Two rounds of an MLA case, and an attention case that crashed."""
    first, second = mla("q64_4q1kv256", threshold=4), attn("q512", dtype="bf16")
    found = timed(first, 2e-3, 2.1e-3, labels=("a", "b"), resolved={"block_size": 64})
    found = [
        replace(each, errors={"cosine": float("nan")}, durations={"prepare": 0.5, "time": 1.5})
        for each in found
    ]
    results = {first: found, second: failed(Status.CRASHED, 'died, "really"\nsignal 9')}
    with Store.open(tmp_path / "export.db") as store:
        run = store_run(store, results, label="pr, 2", machine=H200, method=Method("cudagraph"))
        return store.measurements([run]), {run: store.run(run)}


def as_csv(stored: tuple[list[Measurement], dict[int, Run]]) -> list[dict[str, str]]:
    stream = StringIO()
    write_csv(*stored, stream, {})
    return list(csv.DictReader(StringIO(stream.getvalue())))


def as_json(stored: tuple[list[Measurement], dict[int, Run]]) -> list[dict[str, Any]]:
    stream = StringIO()
    write_json(*stored, stream, {})

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    found: list[dict[str, Any]] = json.loads(stream.getvalue(), parse_constant=refuse)
    return found


def test_every_record_has_the_same_names_in_the_same_order(
    stored: tuple[list[Measurement], dict[int, Run]],
) -> None:
    measurements, runs = stored
    names = NAMES.split()
    assert [list(record(each, runs[each.run])) for each in measurements] == [names] * 3
    assert [list(row) for row in as_csv(stored)] == [names] * 3
    assert [list(row) for row in as_json(stored)] == [names] * 3


def test_a_round_holds_what_was_asked_and_what_ran(
    stored: tuple[list[Measurement], dict[int, Run]],
) -> None:
    found = as_json(stored)[0]
    expected = {
        "label": "pr, 2",
        "commit": "a" * 40,
        "machine": "NVIDIA H200",
        "gpu_uuid": "GPU-1",
        "family": "mla",
        "batch_spec": "4q1kv256_q64",
        "num_requests": 5,
        "num_tokens": 68,
        "num_kv_tokens": 1088,
        "kv_lora_rank": 512,
        "head_dim": None,
        "scope": "layer",
        "knobs": {"threshold": 4},
        "resolved": {"block_size": 64},
        "timer": "cudagraph",
        "cache_asked": "cold",
        "round": 1,
        "status": "ok",
        "reason": None,
        "labels": ["a", "b"],
        "durations_s": {"prepare": 0.5, "time": 1.5},
        "decode_requests": 4,
        "prefill_requests": 1,
        "peak_memory_bytes": None,
    }
    assert {name: found[name] for name in expected} == expected


def test_rates_are_work_over_the_rounds_median(
    stored: tuple[list[Measurement], dict[int, Run]],
) -> None:
    found = as_json(stored)[0]
    assert found["median_s"] == pytest.approx(2e-3)
    assert found["tflops"] == pytest.approx(found["flops"] / 2e-3 / 1e12)
    assert found["gbps"] == pytest.approx(found["bytes"] / 2e-3 / 1e9)


def test_what_is_no_number_is_null(stored: tuple[list[Measurement], dict[int, Run]]) -> None:
    assert as_json(stored)[0]["errors"] == {"cosine": None}


def test_a_failure_has_a_reason_and_no_zeros(
    stored: tuple[list[Measurement], dict[int, Run]],
) -> None:
    found = as_json(stored)[1]
    assert (found["status"], found["reason"]) == ("crashed", 'died, "really"\nsignal 9')
    unknown = ["median_s", "low_s", "flops", "bytes", "tflops", "gbps", "sets", "cache_state"]
    unknown += ["footprint_ratio", "kernels", "kernel_s", "power_w", "clock_reasons", "roofline"]
    assert {found[name] for name in unknown} == {None}
    row = as_csv(stored)[1]
    assert row["reason"] == 'died, "really"\nsignal 9'
    assert {row[name] for name in unknown} == {""}


@pytest.fixture
def guarded(tmp_path: Path) -> tuple[list[Measurement], dict[int, Run]]:
    """A decode that took twice what its bytes need at 4e12 a second, with all that can be known."""
    case = attn("64q1kv4k", dtype="bf16")
    seen, labels = guard_facts(BEFORE, AFTER, 1.0)
    work = timed(case, 1e-3)[0].bytes
    outcome = replace(
        timed(case, 2 * work / 4e12)[0],
        labels=labels,
        footprint_ratio=3.5,
        guard=seen,
        kernels=("flash_fwd", "combine"),
        kernel_seconds=480e-6,
        enqueue_seconds=20e-6,
        plan_seconds=310e-6,
    )
    with Store.open(tmp_path / "guarded.db") as store:
        run = store_run(store, {case: [outcome]}, machine=H200)
        return store.measurements([run]), {run: store.run(run)}


def test_what_the_gpu_and_the_host_did_is_told_with_its_unit(
    guarded: tuple[list[Measurement], dict[int, Run]],
) -> None:
    (found,) = as_json(guarded)
    expected = {
        "footprint_ratio": 3.5,
        "kernels": ["flash_fwd", "combine"],
        "kernel_s": 480e-6,
        "enqueue_s": 20e-6,
        "plan_s": 310e-6,
        "sm_clock_before_hz": 1.98e9,
        "sm_clock_after_hz": 1.9e9,
        "memory_clock_hz": 3.2e9,
        "temperature_c": 64,
        "power_w": 690,
        "mean_power_w": 700,
        "energy_j": 700,
        "power_limited_share": 0.5,
        "thermal_share": 0,
        "gpu_processes": 1,
        "clock_reasons": ["sw_power_cap", "sw_thermal"],
    }
    assert {name: found[name] for name in expected} == expected
    assert as_csv(guarded)[0]["clock_reasons"] == "sw_power_cap;sw_thermal"


def test_nothing_that_the_guard_saw_is_left_out(
    guarded: tuple[list[Measurement], dict[int, Run]],
) -> None:
    (measurement,) = guarded[0]
    seen = measurement.outcome.guard
    told = as_json(guarded)[0]
    reasons = set(told["clock_reasons"])
    at = list(told).index("sm_clock_before_hz")
    numbers = [value for value in list(told.values())[at:-1] if value is not None]
    assert sorted(numbers) == sorted(v for name, v in seen.items() if name not in reasons)


def test_a_round_is_a_part_of_its_roofline_and_of_what_was_reached(
    guarded: tuple[list[Measurement], dict[int, Run]],
) -> None:
    (measurement,), runs = guarded
    run = runs[measurement.run]
    reached = Sentinels(4e12, 3e12, 700e12)
    found = record(measurement, run, {run.number: {"start": reached.as_facts()}})
    assert found["of_measured"] == pytest.approx(0.5)
    assert found["roofline"] == pytest.approx(0.5 * 4e12 / (6144 / 8 * 3.201e9 * 2))
    assert record(measurement, run)["of_measured"] is None


def test_a_time_that_cannot_be_says_so(tmp_path: Path) -> None:
    case = attn("64q1kv4k", dtype="bf16")
    with Store.open(tmp_path / "wrong.db") as store:
        run = store_run(store, {case: timed(case, 2e-4, labels=("bimodal",))}, machine=H200)
        (found,) = as_json((store.measurements([run]), {run: store.run(run)}))
    assert found["roofline"] > 1.02
    assert found["labels"] == ["bimodal", "above_roofline"]


def test_csv_packs_lists_and_mappings(stored: tuple[list[Measurement], dict[int, Run]]) -> None:
    row = as_csv(stored)[0]
    assert row["knobs"] == "threshold=4"
    assert row["labels"] == "a;b"
    assert row["durations_s"] == "prepare=0.5;time=1.5"
    assert row["errors"] == "cosine="


def test_times_survive_to_the_last_bit(stored: tuple[list[Measurement], dict[int, Run]]) -> None:
    medians = [m.median for m in stored[0] if m.median is not None]
    assert [float(row["median_s"]) for row in as_csv(stored) if row["median_s"]] == medians
