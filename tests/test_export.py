"""Exported records: stable names, valid JSON, and nothing where nothing is known."""

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from attnbench.db.rows import Run
from attnbench.db.store import Store
from attnbench.records import Measurement, Status
from attnbench.reporting.export import record, write_csv, write_json
from attnbench.timing.method import Method
from tests.stored_results import H200, attn, failed, mla, store_run, timed

NAMES = """
uuid run run_uuid started label branch commit dirty machine gpu_uuid hostname
case_key workload_key family backend batch_spec num_requests num_tokens num_kv_tokens max_q_len
max_kv_len num_q_heads num_kv_heads head_dim kv_lora_rank qk_nope_head_dim qk_rope_head_dim
v_head_dim dtype kv_cache_dtype block_size layout scope knobs resolved
method_key timer cache_asked method
round position status reason median_s low_s high_s num_samples labels errors durations_s
cache_state sets touched_bytes flops bytes tflops gbps calls_per_sample warmup_calls
decode_requests decode_tokens prefill_requests prefill_tokens peak_memory_bytes
"""


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
    write_csv(*stored, stream)
    return list(csv.DictReader(StringIO(stream.getvalue())))


def as_json(stored: tuple[list[Measurement], dict[int, Run]]) -> list[dict[str, Any]]:
    stream = StringIO()
    write_json(*stored, stream)

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
        "round": 0,
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
    unknown = ("median_s", "low_s", "flops", "bytes", "tflops", "gbps", "sets", "cache_state")
    assert {found[name] for name in unknown} == {None}
    row = as_csv(stored)[1]
    assert row["reason"] == 'died, "really"\nsignal 9'
    assert {row[name] for name in unknown} == {""}


def test_csv_packs_lists_and_mappings(stored: tuple[list[Measurement], dict[int, Run]]) -> None:
    row = as_csv(stored)[0]
    assert row["knobs"] == "threshold=4"
    assert row["labels"] == "a;b"
    assert row["durations_s"] == "prepare=0.5;time=1.5"
    assert row["errors"] == "cosine="


def test_times_survive_to_the_last_bit(stored: tuple[list[Measurement], dict[int, Run]]) -> None:
    medians = [m.median for m in stored[0] if m.median is not None]
    assert [float(row["median_s"]) for row in as_csv(stored) if row["median_s"]] == medians
