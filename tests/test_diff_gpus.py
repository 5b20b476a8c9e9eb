"""`diff --base gpu:H100 --head gpu:H200`: ratios beside what rooflines foresee, no verdicts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from attnbench.records import Status
from attnbench.results.report import read_run
from attnbench.timing.method import Method
from tests.markdown import unpadded
from tests.stored_results import CPU, H200, Results, attn, failed, store_run, timed

H100 = replace(
    H200,
    name="NVIDIA H100 80GB HBM3",
    gpu_uuid="GPU-2",
    memory_bytes=80 * 2**30,
    memory_bus_bits=5120,
    max_memory_clock_hz=2_619_000_000,
)
PREFILL, DECODE = attn("q8k", dtype="bf16"), attn("64q1kv4k", dtype="bf16")
GRAPH = Method("cudagraph")


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "gpus.db")


def add(db: str, machine: Machine, results: Results) -> None:
    with Store.open(db) as store:
        store_run(store, results, machine=machine, method=GRAPH)


def measure(db: str, prefill: float, decode: float, machine: Machine) -> None:
    times = ((PREFILL, prefill), (DECODE, decode))
    add(db, machine, {c: timed(c, time, 1.001 * time, 0.999 * time) for c, time in times})


def diff(db: str, *options: str, head: str = "gpu:H200") -> Result:
    return CliRunner().invoke(
        cli, ["diff", "--db", db, "--base", "gpu:H100", "--head", head, *options]
    )


TABLE = """\
time on NVIDIA H200 (SM90) over time on NVIDIA H100 80GB HBM3 (SM90); no verdict
on the code

attn; timer cudagraph, cache cold; 3 and 3 rounds
backend sdpa, dtype bf16, num_q_heads 32, num_kv_heads 8, head_dim 128

          base  head   time            95 %  fore-  bound      base    head
spec        ms    ms  ratio        interval   seen  by       roof %  roof %
--------  ----  ----  -----  --------------  -----  -------  ------  ------
q8k       1.00  1.00   1.00  0.973 to 1.03    1.00  compute    51.4    51.4
"""


def test_the_ratio_stands_beside_the_one_foreseen(db: str) -> None:
    measure(db, 1e-3, 400e-6, H100)
    measure(db, 1e-3, 280e-6, H200)
    found = diff(db, "--format", "json")
    assert found.exit_code == 0, found.stderr
    cells = {cell["case"]["batch"]: cell for cell in json.loads(found.stdout)["cells"]}
    assert list(cells) == ["64q1kv4k", "q8k"]  # what falls most behind the foreseen ratio is first
    assert cells["q8k"]["bound"] == "compute"
    assert cells["q8k"]["foreseen_ratio"] == pytest.approx(1.0)
    decode = cells["64q1kv4k"]
    assert decode["bound"] == "memory"
    assert decode["time_ratio"] == pytest.approx(0.7)
    # Widths times clocks: 5120 x 2.619 against 6144 x 3.201.
    assert decode["foreseen_ratio"] == pytest.approx(5120 * 2619 / (6144 * 3201))
    assert decode["head_roofline_fraction"] / decode["base_roofline_fraction"] == pytest.approx(
        decode["foreseen_ratio"] / 0.7
    )


def test_a_gpu_of_unknown_flop_rate_has_the_part_of_its_byte_rate_as_in_report(db: str) -> None:
    h20 = replace(H200, name="NVIDIA H20", gpu_uuid="GPU-3", sm_count=78)
    measure(db, 1e-3, 400e-6, H100)
    measure(db, 5e-3, 400e-6, h20)
    cells = json.loads(diff(db, "--format", "json", head="gpu:H20").stdout)["cells"]
    (decode,) = (cell for cell in cells if cell["case"]["batch"] == "64q1kv4k")
    assert decode["foreseen_ratio"] is None
    with Store.open(db) as store:
        (cohort,) = (report := read_run(store, 2)).cohorts_of(report.selections[0])
    assert decode["head_roofline_fraction"] in cohort.roofline_fractions


def test_the_table_names_no_verdict(db: str) -> None:
    measure(db, 1e-3, 400e-6, H100)
    measure(db, 5e-3, 280e-6, H200)
    found = diff(db)
    assert found.exit_code == 0
    assert "no verdict" in found.stdout
    assert all(len(line) <= 80 for line in found.stdout.splitlines())
    assert (
        "geometric mean of 1 case bound by memory: time ratio 0.700, foreseen 0.682" in found.stdout
    )
    assert (
        "geometric mean of 1 case bound by compute: time ratio 5.00, foreseen 1.00" in found.stdout
    )
    assert not {"slower", "faster", "same"} & set(found.stdout.split())
    assert "| spec |" in unpadded(diff(db, "--format", "markdown").stdout)


def test_a_gpu_named_too_loosely_is_a_usage_error(db: str) -> None:
    measure(db, 1e-3, 400e-6, H100)
    measure(db, 1e-3, 400e-6, replace(H100, name="NVIDIA H100 PCIe", sm_count=114))
    measure(db, 1e-3, 400e-6, H200)
    found = diff(db)
    assert found.exit_code == 2
    assert "gpu:H100 names 2 models: NVIDIA H100 80GB HBM3, NVIDIA H100 PCIe" in found.stderr


def test_one_gpu_is_not_two(db: str) -> None:
    measure(db, 1e-3, 400e-6, H100)
    found = diff(db, head="gpu:HBM3")
    assert found.exit_code == 2
    assert "name the same GPU model" in found.stderr


def test_gpus_without_a_case_in_common_end_in_status_3(db: str) -> None:
    add(db, H100, {PREFILL: timed(PREFILL, 1e-3)})
    add(db, H200, {PREFILL: failed(Status.OOM, "no memory"), DECODE: timed(DECODE, 1e-3)})
    found = diff(db)
    assert found.exit_code == 3
    assert "nothing to compare: no case has a time" in found.stderr


def test_other_refs_of_two_models_are_not_compared(db: str) -> None:
    measure(db, 1e-3, 400e-6, H100)
    measure(db, 1e-3, 400e-6, CPU)
    found = CliRunner().invoke(cli, ["diff", "--db", db, "--base", "1", "--head", "2"])
    assert found.exit_code == 3


@pytest.mark.parametrize("option", [["--across", "backend"], ["--explain", "q8k"]])
def test_what_needs_one_gpu_is_refused(db: str, option: list[str]) -> None:
    measure(db, 1e-3, 400e-6, H100)
    measure(db, 1e-3, 400e-6, H200)
    found = diff(db, *option)
    assert found.exit_code == 2
    assert f"{option[0]} does not apply to two GPU models" in found.stderr


def test_a_case_may_call_for_load_on_one_of_the_gpus_alone(db: str) -> None:
    add(db, H100, {PREFILL: timed(PREFILL, 1e-3, labels=("sustained",))})
    add(db, H200, {PREFILL: timed(PREFILL, 1e-3)})
    found = diff(db, "--format", "json")
    assert found.exit_code == 0, found.output
    assert len(json.loads(found.stdout)["cells"]) == 1


def test_a_page_has_two_gpus_side_by_side(db: str, tmp_path: Path) -> None:
    measure(db, 1e-3, 400e-6, H100)
    measure(db, 1e-3, 400e-6, H200)
    assert diff(db, "--html", str(tmp_path / "gpus.html")).exit_code == 0
    page = (tmp_path / "gpus.html").read_text()
    assert "<h1>NVIDIA H200 against NVIDIA H100 80GB HBM3</h1>" in page
    assert "geometric mean of" in page
    assert "Measured and foreseen ratio" in page
