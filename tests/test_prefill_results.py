"""What is said of measured prefills: conclusions, CSV, the command, its Python API."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from attnbench import benchmark_prefill, to_float8
from attnbench.analysis.fields import spec
from attnbench.compat.prefill_trtllm import Percentage
from attnbench.compat.trtllm_csv import COLUMNS, write_trtllm_csv
from attnbench.db.store import Store
from attnbench.errors import AttnbenchError, UsageError
from attnbench.provenance.machine import Machine
from attnbench.reporting.html.workloads import workloads_of
from attnbench.reporting.tables import results_tables
from attnbench.results.cohort import cohorts
from attnbench.results.report import read_run
from attnbench.running import memory
from attnbench.running.memory import memory_refusal
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case, Value
from attnbench.specs.lengths import prompt_batches
from attnbench.specs.quant import QUANTS
from attnbench.specs.shape import AttnShape
from attnbench.timing.method import Method
from tests.conftest import Attnbench
from tests.stored_results import H200, Results, store_run, timed

RAN: dict[str, Value] = {"block_size": 16, "layout": "HND"}
SMALL = ["--num-qo-heads", "4", "--num-kv-heads", "2", "--head-size", "32", "--device", "cpu"]
QUICK = [*SMALL, "--batch-specs", "q16", "--rounds", "1", "--trials", "3"]
# The columns of vLLM's own file, in its order; of the speed-up both readings.
ORIGINAL = (
    "batch_size trtllm_mean trtllm_std baseline_mean baseline_std speedup_fraction speedup_percent "
    "q_dtype kv_cache_dtype output_dtype block_size num_kv_heads head_size max_seq_len"
)


def prefill(backend: str, quant: str, text: str = "4q2k") -> Case:
    fields: dict[str, Value] = {"kv_cache_dtype": "auto", **QUANTS[quant]}
    dtypes: dict[str, Any] = dict(fields)
    return Case("prefill-trtllm", backend, parse_batch_spec(text), AttnShape(64, 8, 128), **dtypes)


def results(times: dict[tuple[str, str, str], Sequence[float]]) -> Results:
    return {
        prefill(*key): timed(prefill(*key), *rounds, resolved=RAN) for key, rounds in times.items()
    }


TIMES = results(
    {
        ("fa2", "bf16", "4q2k"): (1.2e-3, 1.21e-3, 1.2e-3),
        ("fa3", "bf16", "4q2k"): (1e-3, 1.001e-3, 1e-3),
        ("trtllm-fmha-v2", "bf16", "4q2k"): (0.8e-3, 0.8e-3, 0.801e-3),
        ("fa3", "fp8-qkv", "4q2k"): (0.5e-3, 0.5e-3, 0.501e-3),
        ("torch", "fp8", "4q2k"): (9e-3, 9e-3, 9e-3),
    }
)


def rows(folder: Path, stored: Results) -> list[dict[str, str]]:
    file = io.StringIO()
    with Store.open(folder / "prefill.db") as store:
        run = store_run(store, stored, machine=H200, method=Method("cudagraph"))
        write_trtllm_csv(store, read_run(store, run), file)
    return list(csv.DictReader(io.StringIO(file.getvalue())))


def table(folder: Path, stored: Results) -> str:
    with Store.open(folder / "prefill.db") as store:
        run = store_run(store, stored, machine=H200, method=Method("cudagraph"))
        return results_tables(cohorts(store.measurements([run]), {run: store.run(run)}))


def test_a_heading_names_what_all_rows_share_alone(tmp_path: Path) -> None:
    heading = table(tmp_path, TIMES).split("\n\n")[0]
    assert "num_q_heads 64" in heading
    assert "dtype" not in heading


def test_csv_has_the_columns_of_the_original_and_then_ours(tmp_path: Path) -> None:
    assert COLUMNS[: len(ORIGINAL.split())] == tuple(ORIGINAL.split())
    assert tuple(rows(tmp_path, TIMES)[0]) == COLUMNS


def test_each_row_is_held_against_the_baseline_of_its_own_dtypes(tmp_path: Path) -> None:
    found = {(row["implementation"], row["q_dtype"]): row for row in rows(tmp_path, TIMES)}
    assert set(found) == {("fa2", "bf16"), ("trtllm-fmha-v2", "bf16"), ("torch", "fp8")}
    row = found["trtllm-fmha-v2", "bf16"]
    assert row["baseline"] == "fa3"
    assert float(row["trtllm_mean"]) == pytest.approx(0.8, rel=0.01)  # milliseconds
    assert float(row["baseline_mean"]) == pytest.approx(1.0, rel=0.01)
    assert float(row["speedup_fraction"]) == pytest.approx(0.2, rel=0.01)
    assert float(row["speedup_percent"]) == 100 * float(row["speedup_fraction"])
    assert (row["batch_size"], row["max_seq_len"], row["kv_layout"]) == ("4", "2048", "HND")


def test_without_a_baseline_its_cells_are_empty(tmp_path: Path) -> None:
    (row,) = (row for row in rows(tmp_path, TIMES) if row["implementation"] == "torch")
    assert {row[name] for name in ("baseline", "baseline_mean", "speedup_fraction")} == {""}
    assert (row["q_dtype"], row["output_dtype"]) == ("fp8", "fp8")


def test_conclusions_keep_kernels_and_quantisation_apart(tmp_path: Path) -> None:
    shown = re.sub(r"\s+", " ", table(tmp_path, TIMES))
    assert "trtllm-fmha-v2 takes 0.800x the time of fa3 (95 % interval" in shown
    assert "fa2 takes 1.203x the time of fa3" in shown
    assert "fa3: fp8-qkv takes 0.500x the time of bf16 (95 % interval" in shown
    assert "torch takes" not in shown  # of its dtypes nothing else was measured


def test_the_table_names_quantisations_by_one_word(tmp_path: Path) -> None:
    shown = table(tmp_path, TIMES)
    assert all(word in shown for word in ("quant", "fp8-qkv", "bf16"))
    assert "query dtype" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_a_page_tells_workloads_apart_by_what_differs_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db") as store:
        number = store_run(store, TIMES)
        (cohort,) = cohorts(store.measurements([number]), {number: store.run(number)})
    names = [each.name for each in workloads_of(cohort)]
    assert names[:2] == ["4q2k (quant bf16)", "4q2k (quant fp8-qkv)"]


def test_a_batch_of_many_lengths_is_named_by_its_number_and_longest() -> None:
    (batch,) = prompt_batches([64], [2048], "random", 0)
    assert spec(batch) == "64 up to q2k"
    assert spec(parse_batch_spec("2q5_q16")) == "2q5_q16"


def test_what_cannot_fit_is_refused_with_the_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda machine: 100 * 2**30)
    case = prefill("torch", "bf16", "256q128k")
    assert memory_refusal(case, H200) == (
        "needs at least 1160 GiB of memory (q 512 GiB, output 512 GiB, kv 134 GiB); "
        "100 GiB are free"
    )
    fits = prefill("torch", "bf16", "4q2k")
    assert memory_refusal(fits, H200) is None
    assert "for 5000 working sets" in str(memory_refusal(fits, H200, sets=5000))


@pytest.mark.parametrize(("missing", "fits"), [(0, True), (1, False)])
def test_what_needs_more_than_is_free_is_refused(
    monkeypatch: pytest.MonkeyPatch, missing: int, fits: bool
) -> None:
    case = prefill("torch", "bf16", "256q128k")
    needed = sum(memory.memory_of(case, 1, H200).values())
    monkeypatch.setattr(memory, "free_memory", lambda machine: needed - missing)
    assert (memory_refusal(case, H200) is None) is fits


def test_free_memory_of_a_cpu_is_what_the_system_could_give() -> None:
    free = memory.free_memory(Machine(kind="cpu", device="cpu", name="Xeon"))
    assert free is None or 2**20 < free < 2**50


def test_the_command_refuses_what_cannot_fit_and_goes_on(attnbench: Attnbench) -> None:
    done = attnbench(
        "prefill-trtllm",
        *[*QUICK, "--backend", "torch", "--batch-sizes", "50000", "--seq-lens", "128k"],
        *["--lengths", "fixed"],
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"needs at least\s+\d+ GiB", done.stdout)
    assert "q16" in done.stdout


def test_on_a_cpu_torch_runs_and_all_else_says_why(attnbench: Attnbench) -> None:
    done = attnbench(
        "prefill-trtllm", *QUICK, "--quant", "bf16", "fp8-fp4out", "--output-csv", "o.csv"
    )
    assert done.returncode == 0, done.stderr
    shown = re.sub(r"\s+", " ", done.stdout)
    assert "cudnn, fa2, fa3, trtllm-fmha-v2, trtllm-gen" in shown
    assert "needs an NVIDIA GPU" in shown
    written = attnbench("report", "--format", "csv").stdout
    assert {row["output_dtype"] for row in csv.DictReader(io.StringIO(written))} == {
        "auto",
        "nvfp4",
    }


def test_csv_is_saved_under_the_name_that_the_original_gives(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    done = attnbench("prefill-trtllm", *QUICK, "--backend", "torch", "--save-csv")
    assert done.returncode == 0, done.stderr
    (saved,) = tmp_path.glob("flashinfer_trtllm_benchmark_*.csv")
    assert re.fullmatch(r".*_\d{8}_\d{6}\.csv", saved.name)
    assert saved.read_text().startswith("batch_size,trtllm_mean")
    assert saved.name in done.stderr


def test_a_dry_run_lists_batches_by_size_and_length(attnbench: Attnbench) -> None:
    done = attnbench(
        *["prefill-trtllm", *SMALL, "--batch-sizes", "1..4:x2", "--seq-lens", "1k", "2k"],
        *["--lengths", "fixed", "--dry-run"],
    )
    assert done.returncode == 0, done.stderr
    listed = [line.split()[0] for line in done.stdout.splitlines() if " torch " in line]
    assert listed == ["q1k", "q2k", "2q1k", "2q2k", "4q1k", "4q2k"]


@pytest.mark.parametrize("option", ["--batch-sizes", "--seq-lens"])
def test_a_number_that_cannot_be_read_is_named(attnbench: Attnbench, option: str) -> None:
    done = attnbench("prefill-trtllm", *SMALL, option, "1,x")
    assert done.returncode == 2
    assert option in done.stderr


def test_the_api_measures_with_the_arguments_of_the_original() -> None:
    found = benchmark_prefill(
        torch.bfloat16,
        (torch.float8_e4m3fn, torch.float8_e4m3fn, None),
        batch_size=2,
        max_seq_len=16,
        num_heads=(4, 2),
        head_size=32,
        warmup=1,
        trials=3,
        implementation="torch",
        device="cpu",
    )
    ours = ["implementation", "baseline", "baseline_refusal"]
    assert list(found) == [*ORIGINAL.split(), *ours]
    assert isinstance(found["trtllm_mean"], float)
    assert found["trtllm_mean"] > 1e-3  # milliseconds: in seconds it is some 1e-5
    # As the original's users print it, where no baseline can run:
    shown = "{trtllm_mean:.3f} ms, {baseline_mean:.3f} ms, {speedup_percent:.1%}".format_map(found)
    assert shown.endswith(" ms, nan ms, nan%")
    assert "fa2 needs an NVIDIA GPU" in str(found["baseline_refusal"])
    assert (found["q_dtype"], found["output_dtype"]) == ("torch.float8_e4m3fn", "torch.bfloat16")


@pytest.mark.parametrize(
    ("spec", "shown"), [(".1%", "12.5%"), (".1f", "12.5"), ("", "12.5"), (">8.0%", "     12%")]
)
def test_a_percentage_is_never_multiplied_again(spec: str, shown: str) -> None:
    assert format(Percentage(12.5), spec) == shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trials": 0}, "trials=0: expected a whole number from 1"),
        ({"warmup": -1}, "warmup=-1: expected a whole number from 0"),
        ({"device": "tpu"}, "device 'tpu' is unknown; accepted are auto, cpu, cuda and cuda:N"),
    ],
)
def test_the_api_names_an_argument_that_means_nothing(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        benchmark_prefill(torch.bfloat16, (None, None, None), 1, 16, **given)


def test_the_api_says_why_nothing_can_run() -> None:
    with pytest.raises(AttnbenchError, match=r"trtllm-gen needs an NVIDIA GPU.*; trtllm-fmha-v2"):
        benchmark_prefill(torch.bfloat16, (None, None, None), 1, 16, device="cpu")
    with pytest.raises(UsageError, match="torch.int32 is none of".replace(".", r"\.")):
        benchmark_prefill(torch.int32, (None, None, None), 1, 16, device="cpu")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_to_float8_keeps_values_to_the_dtypes_precision(dtype: torch.dtype) -> None:
    values = torch.randn(100, 16)
    stored, scale = to_float8(values, dtype)
    assert stored.dtype == dtype
    assert stored.float().abs().max() == pytest.approx(torch.finfo(dtype).max * 0.1, rel=0.1)
    assert torch.allclose(stored.float() * scale, values, rtol=0.14, atol=1e-2)
