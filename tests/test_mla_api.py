"""MLA benchmarks from Python, as programs and as files."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench import (
    BenchmarkConfig,
    BenchmarkResult,
    ResultsFormatter,
    run_cutlass_mla_benchmark,
    run_flashmla_benchmark,
    run_mla_benchmark,
)
from attnbench.errors import UsageError

CONFIG = BenchmarkConfig(
    "torch-absorbed",
    "3q1kv40_q16",
    num_layers=2,
    num_q_heads=2,
    kv_lora_rank=32,
    qk_nope_head_dim=16,
    qk_rope_head_dim=8,
    v_head_dim=16,
    device="cpu",
    dtype="float32",
    repeats=5,
)
RESULT = BenchmarkResult(CONFIG, 2e-5, 1.9e-5, 1e-6, 1.8e-5, 3e-5, 1e6, 12.0)
FAILED = BenchmarkResult(
    replace(CONFIG, backend="flashmla"),
    math.nan,
    math.nan,
    math.nan,
    math.nan,
    math.nan,
    error="refused: needs an NVIDIA GPU",
)


def test_one_case_has_the_fields_and_items_of_its_samples() -> None:
    result = run_mla_benchmark("torch-absorbed", CONFIG)
    assert isinstance(result, BenchmarkResult)
    assert result.success
    assert 0 < result["min"] <= result["median"] <= result["max"]
    assert result["min"] <= result["mean"] == result.mean_time <= result["max"]
    assert result["std"] == result.std_time >= 0
    assert result["throughput"] == pytest.approx(19 / result["mean"])
    with pytest.raises(KeyError):
        result["latency"]


def test_several_run_in_one_worker_and_come_back_in_order(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threshold_1, plain, refused = run_mla_benchmark(  # type: ignore[misc]
        "torch-absorbed",
        [(CONFIG, 1), CONFIG, replace(CONFIG, num_kv_splits=4)],
    )
    assert threshold_1.config.reorder_batch_threshold == 1
    assert plain.config == CONFIG
    assert threshold_1.success
    assert plain.success
    assert refused.error == "refused: does not take --num-splits"
    assert f"{refused['mean']:.3f} {refused['throughput']:.0f}" == "nan nan"
    assert "torch-absorbed 3q1kv40_q16: refused: does not take --num-splits" in caplog.text


def test_what_needs_a_gpu_says_so_in_the_result() -> None:
    for run, name in (
        (run_flashmla_benchmark, "flashmla"),
        (run_cutlass_mla_benchmark, "cutlass_mla"),
    ):
        result = run(CONFIG)
        assert result.config.backend == name
        assert result.error is not None
        assert result.error.startswith("refused: needs an NVIDIA GPU; this device is ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dtype": "int8"}, "dtype 'int8' is unknown; accepted are bfloat16"),
        ({"head_dim": 128}, "head_dim=128: MLA of these dims has 40"),
        ({"num_kv_heads": 8}, "num_kv_heads=8: MLA of these dims has 1"),
        ({"repeats": 0}, "repeats=0: expected a whole number from 1"),
        ({"device": "tpu"}, "device 'tpu' is unknown"),
        ({"batch_spec": "8x1k"}, "cannot read '8x1k'"),
    ],
)
def test_a_config_that_means_nothing_is_an_error(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_mla_benchmark("torch-absorbed", replace(CONFIG, **given))  # type: ignore[arg-type]


def test_a_config_is_read_before_its_device_is_looked_for() -> None:
    with pytest.raises(UsageError, match="dtype 'int8' is unknown"):
        run_mla_benchmark("torch-absorbed", replace(CONFIG, device="cuda:99", dtype="int8"))


def test_a_value_beside_a_config_is_the_knob_that_the_backend_has() -> None:
    from attnbench.compat.mla import _with_value

    assert _with_value("flashattn_mla", (CONFIG, 16)).reorder_batch_threshold == 16
    assert _with_value("flashmla", (CONFIG, 16)).reorder_batch_threshold == 16
    assert _with_value("cutlass_mla", (CONFIG, 4)).num_kv_splits == 4
    assert _with_value("triton_mla", (CONFIG, 4)).num_kv_splits == 4


def test_the_table_shows_units_and_who_failed() -> None:
    text = ResultsFormatter().table([RESULT, replace(RESULT, mean_time=4e-5), FAILED])
    assert text.splitlines() == [
        "                             mean   std        vs  memory",
        "batch spec   backend           us    us  quickest     MiB  error",
        "-----------  --------------  ----  ----  --------  ------  ---------------------",
        "3q1kv40_q16  torch-absorbed  20.0  1.00     1.00x    12.0",
        "3q1kv40_q16  torch-absorbed  40.0  1.00     2.00x    12.0",
        "3q1kv40_q16  flashmla           -     -         -       -  refused: n..VIDIA GPU",
    ]


def test_settings_of_one_backend_are_told_apart(tmp_path: Path) -> None:
    formatter, config = ResultsFormatter(), RESULT.config
    results = [
        replace(RESULT, config=replace(config, reorder_batch_threshold=threshold))
        for threshold in (1, 8)
    ]
    formatter.save_csv(results, tmp_path / "r.csv")
    rows = csv.DictReader((tmp_path / "r.csv").read_text().splitlines())
    names = [f"torch-absorbed_reorder_batch_threshold_{threshold}" for threshold in (1, 8)]
    assert [row["backend"] for row in rows] == names
    assert len({line.split()[1] for line in formatter.table(results).splitlines()[3:]}) == 2


def test_files_have_the_suites_columns_and_no_infinity(tmp_path: Path) -> None:
    formatter = ResultsFormatter()
    formatter.save_csv([RESULT, FAILED], tmp_path / "r.csv")
    formatter.save_json([RESULT, FAILED], tmp_path / "r.json")
    first, second = csv.DictReader((tmp_path / "r.csv").read_text().splitlines())
    assert first["mean_time"] == "2e-05"
    assert (first["throughput"], first["memory_mb"]) == ("1000000.0", "12.0")
    assert second["backend"] == "flashmla"
    assert second["mean_time"] == ""
    found = json.loads((tmp_path / "r.json").read_text())
    assert found[0]["config"]["dtype"] == "fp32"
    assert found[0]["mean_time"] == 2e-5
    assert found[1]["mean_time"] is None
    assert found[1]["error"] == "refused: needs an NVIDIA GPU"
