"""Measuring commands as real processes: what they print, store, survive and exit with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.machine import read_machine
from attnbench.provenance.source import Source
from attnbench.records import Status
from attnbench.reporting.doctor import doctor_text
from attnbench.running.lock import device_lock
from attnbench.running.this_machine import Examination
from tests.conftest import ALL_SETS, SMALL, Attnbench, Ran, Refused, started, wait_for_first_outcome
from tests.processes import workers_of
from tests.stored_results import attn, store_run, timed

TWICE = ["--rounds", "2", "--repeats", "3"]
QUICK = [*SMALL, *TWICE]
ATTN = ["attn", *QUICK, "--backend", "naive"]
BOTH = ["--backends", "naive", "sdpa"]


def outcomes(folder: Path, run: int = 1) -> list[tuple[str, str, int, Status]]:
    """Backend, batch, round and status of every stored outcome."""
    with Store.open(folder / "attnbench.db", create=False) as store:
        return [
            (m.case.backend, str(m.case.batch), m.round, m.status)
            for m in store.measurements([run])
        ]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("ran")
    files = ["--output-csv", "rows.csv", "--output-json", "rows.json"]
    words = [*BOTH, "--batch-specs", "q8", "2s20", "--label", "mine", "--mode", "cudagraph", *files]
    return Ran.of(folder, "attn", *ALL_SETS, *TWICE, *words)


def test_a_run_ends_in_a_table_and_a_database(ran: Ran) -> None:
    assert ran.done.returncode == 0, ran.done.stderr
    assert "run 1 on " in ran.done.stderr
    assert all(len(line) <= 80 for line in ran.done.stdout.splitlines())
    for shown in ("q8", "2q1kv20", "naive", "sdpa", "fp32"):
        assert shown in ran.done.stdout
    stored = outcomes(ran.folder)
    # ABBA: the second round takes the backends of a workload in reverse.
    assert [(backend, round_) for backend, batch, round_, _ in stored if batch == "q8"] == [
        ("naive", 0),
        ("sdpa", 0),
        ("sdpa", 1),
        ("naive", 1),
    ]
    assert {status for *_, status in stored} == {Status.OK}


def test_every_sample_is_stored(ran: Ran) -> None:
    with Store.open(ran.folder / "attnbench.db", create=False) as store:
        for measurement in store.measurements([1]):
            samples = store.samples(measurement.id)
            assert len(samples) == 3
            assert measurement.median == sorted(samples)[1]


def test_results_go_to_files_too(ran: Ran) -> None:
    listed = json.loads((ran.folder / "rows.json").read_text())
    shown = [(row["label"], row["round"]) for row in listed if row["batch_spec"] == "q8"]
    assert sorted(shown) == [("mine", 1), ("mine", 1), ("mine", 2), ("mine", 2)]
    lines = (ran.folder / "rows.csv").read_text().splitlines()
    assert len(lines) == 1 + len(listed) == 9
    assert {"median_s", "backend", "head_dim"} < set(lines[0].split(","))


def test_a_legacy_spec_is_noted_with_todays_form(ran: Ran) -> None:
    assert "note: " in ran.done.stderr
    assert "2q1kv20" in ran.done.stderr


def test_mode_on_a_cpu_prints_one_note(ran: Ran) -> None:
    assert ran.done.stderr.count("does not apply to a CPU") == 1


def test_a_backend_that_crashes_costs_its_own_outcome_alone(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    done = attnbench(
        "attn", *QUICK, "--backends", "naive", "crashing", "sdpa", "--batch-specs", "q8"
    )
    assert done.returncode == 1
    assert "SIGSEGV" in done.stderr
    assert "last words of a crashing backend" in done.stderr
    assert [(name, state) for name, _, _, state in outcomes(tmp_path)] == [
        ("naive", Status.OK),
        ("crashing", Status.CRASHED),
        ("sdpa", Status.OK),
        ("sdpa", Status.OK),
        ("naive", Status.OK),
    ]


def test_a_backend_that_hangs_is_ended_after_the_seconds_of_timeout(attnbench: Attnbench) -> None:
    done = attnbench(
        "attn", *QUICK, "--backends", "stalling", "--batch-specs", "q8", "--timeout", "2"
    )
    assert done.returncode == 1
    assert "phase 'measure' did not end within 2 s; the worker was ended" in done.stderr


def test_a_refused_backend_beside_one_that_ran_is_no_failure(attnbench: Attnbench) -> None:
    done = attnbench(
        *["mla", "--backend", "flashmla", "torch-absorbed", "--thresholds", "1", "4"],
        *["--num-q-heads", "2", "--batch-specs", "2q1kv40_q4", "--device", "cpu", "--repeats", "3"],
    )
    assert done.returncode == 0, done.stderr
    assert "needs an NVIDIA GPU" in done.stdout
    assert "nothing was measured" not in done.stderr


def test_where_all_is_refused_the_command_says_where_to_look(attnbench: Attnbench) -> None:
    done = attnbench("mla", "--backend", "flashmla", "--batch-specs", "q4", "--device", "cpu")
    assert done.returncode == 1
    assert "refused: flashmla q4: needs an NVIDIA GPU" in done.stdout
    assert "note: nothing was measured, for the reasons above; `attnbench doctor`" in done.stderr


# 8 outcomes, of which a process started with FOR_EVER gets no further than the first.
LONG = ["attn", *QUICK, "--backends", "naive", "paced", "--batch-specs", "q8", "q16"]
FOR_EVER = {"PACED_MS": "3600000"}


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_run_keeps_what_it_measured_and_resumes_with_the_rest(
    attnbench: Attnbench, tmp_path: Path, environment: dict[str, str]
) -> None:
    with started(tmp_path, environment | FOR_EVER, *LONG) as process:
        wait_for_first_outcome(process, tmp_path)
        process.kill()
    before = outcomes(tmp_path)
    assert len(before) == 1
    while workers_of(process.pid):
        time.sleep(0.05)
    resumed = attnbench("attn", "--device", "cpu", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    after = outcomes(tmp_path)
    assert len(after) == len(set(after)) == 8
    assert set(before) < set(after)
    assert resumed.stderr.count("round ") == 7


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_ends_with_130_and_the_command_that_goes_on(
    attnbench: Attnbench, tmp_path: Path, environment: dict[str, str]
) -> None:
    words = [*LONG, "--output-json", "rounds.json"]
    with started(tmp_path, environment | FOR_EVER, *words) as process:
        wait_for_first_outcome(process, tmp_path)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert workers_of(process.pid) == []
    assert "continue with: attnbench attn --output-json rounds.json --resume 1\n" in told
    refused = attnbench("attn", "--device", "cpu", "--resume", "1", "--rounds", "5")
    assert refused.returncode == 2
    assert (
        "Error: --resume continues run 1 as it was started, and that had --rounds 2, not 5"
        in refused.stderr
    )


@pytest.mark.usefixtures("own_lock")
def test_two_commands_on_one_device_do_not_measure_each_other(attnbench: Attnbench) -> None:
    with device_lock(read_machine("cpu"), wait=False, note=print):
        second = attnbench(*ATTN, "--batch-specs", "q8")
    assert second.returncode == 1
    assert f"another attnbench (process {os.getpid()}) is measuring on" in second.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.usefixtures("own_lock")
def test_ctrl_c_while_queueing_for_the_device_ends_with_130(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    waiting = [*ATTN, "--batch-specs", "q8", "--wait"]
    with (
        device_lock(read_machine("cpu"), wait=False, note=print),
        started(tmp_path, environment, *waiting) as process,
    ):
        assert process.stderr is not None
        # On a busy machine a note on the worker's start may come first.
        assert any(f"another attnbench (process {os.getpid()}) is" in n for n in process.stderr)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert told == "\ninterrupted\n"
    assert workers_of(process.pid) == []


def test_dry_run_measures_nothing(attnbench: Attnbench, tmp_path: Path) -> None:
    done = attnbench("attn", *QUICK, *BOTH, "--dry-run", "--sdpa-backend", "math", "cudnn")
    assert done.returncode == 0, done.stderr
    assert "SDPA's cudnn kernel needs an NVIDIA GPU" in done.stdout
    assert "6 of 9 cases can run on" in done.stdout
    assert "2 rounds of each, ~" in " ".join(done.stdout.split())
    assert "Nothing was measured." in done.stdout
    assert not (tmp_path / "attnbench.db").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["attn", "--batch-specs", "2qk"],
            "Error: Invalid value for '--batch-specs' / '--batch-spec': cannot read '2qk': a size",
        ),
        (
            ["attn", "--backend", "flashy"],
            "Error: no attn backend is called 'flashy' (did you mean flash?); expected one of",
        ),
        (
            ["attn", "--device", "tpu"],
            "Error: Invalid value for '--device': --device 'tpu' is not a device; accepted are "
            "auto, all, cpu, cuda and cuda:N, or several of these, e.g. --device cuda:0 cuda:1",
        ),
        (
            ["attn", "--timeout", "0"],
            "Error: Invalid value for '--timeout': '0' is not a time limit",
        ),
        (["attn", "--tp", "5"], "Error: --tp 5 does not divide 32 query heads"),
        (["attn", "--resume", "x", "--device", "cpu"], "Error: --resume 'x' is not a run number"),
        (
            ["attn", "--rounds", "0"],
            "Error: Invalid value for '--rounds': '0' is not a whole number of at",
        ),
        (["mla", "--scope", "kernel"], "Error: --scope kernel with "),
        (["nonsense"], "Error: No such command 'nonsense'."),
    ],
)
def test_bad_input_is_one_clear_error(
    refused: Refused, tmp_path: Path, args: list[str], message: str
) -> None:
    assert message in refused(*args)
    with_runs = (tmp_path / "attnbench.db").exists() and outcomes(tmp_path)
    assert not with_runs


def test_a_gpu_that_is_not_there_is_a_usage_error(attnbench: Attnbench) -> None:
    done = attnbench("attn", "--device", "cuda:99")
    assert done.returncode == 2
    assert "Error: --device cuda:99: " in done.stderr


CLOCKED = ["attn", *SMALL, "--backend", "clocked", "--batch-specs", "q8", "--repeats", "5"]


def test_the_same_backend_slowed_down_is_slower(attnbench: Attnbench) -> None:
    attnbench(*CLOCKED, "--label", "main", CLOCKED_S="1")
    attnbench(*CLOCKED, "--label", "pr", CLOCKED_S="3")
    slower = attnbench("diff", "--base", "main", "--head", "pr")
    assert slower.returncode == 1, slower.stdout + slower.stderr
    assert "slower" in slower.stdout
    assert all(len(line) <= 80 for line in slower.stdout.splitlines())


def test_doctor_lists_the_machine_and_every_backend(attnbench: Attnbench) -> None:
    done = attnbench("doctor", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    for shown in ("machine", "software", "torch", "sdpa", "flashmla", "needs an NVIDIA GPU"):
        assert shown in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_doctor_fits_one_screen_and_begins_with_a_verdict(attnbench: Attnbench) -> None:
    lines = attnbench("doctor", "--device", "cpu").stdout.splitlines()
    assert lines[0] == "this machine can measure:"
    assert lines[1].startswith("  attn: ")
    assert len(lines) <= 30


def test_doctor_gives_a_reason_once_for_all_backends_that_share_it() -> None:
    states = [
        ("attn", "flash", "needs a GPU"),
        ("attn", "sdpa", None),
        ("mla", "triton_mla", "no"),
        ("mla", "flashmla", "needs a GPU"),
        ("attn", "flex", "needs a GPU"),
    ]
    found = Examination(None, None, Source("none"), tuple(states), None)
    assert (
        doctor_text(found)
        == """\
this machine can measure:
  attn: sdpa
3 backends cannot run here: needs a GPU
  attn: flash, flex
  mla: flashmla
1 backend cannot run here: no
  mla: triton_mla

code under test: none"""
    )


def test_doctor_says_that_its_worker_failed() -> None:
    found = Examination(None, None, Source("none"), (("attn", "sdpa", "not asked"),), "signal 11")
    assert doctor_text(found).splitlines()[0] == (
        "this machine can measure nothing: the worker that looks at the device failed:"
    )


@pytest.mark.parametrize("form", ["json", "table"])
def test_a_full_disk_costs_one_sentence_and_no_traceback(tmp_path: Path, form: str) -> None:
    with Store.open(tmp_path / "a.db") as store:
        store_run(store, {case: timed(case, 1e-3) for case in [attn("q512")]})
    command = [sys.executable, "-m", "attnbench", "report", "--db", str(tmp_path / "a.db")]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*command, "--format", form],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: the output could not be written: No space left on device\n"


def test_a_closed_standard_output_is_an_error(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db") as store:
        store_run(store, {case: timed(case, 1e-3) for case in [attn("q512")]})
    line = f"{sys.executable} -m attnbench report --db {tmp_path / 'a.db'} >&-"
    done = subprocess.run(["sh", "-c", line], check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: standard output is closed; name a file, e.g. --output report.txt\n"
    )


@pytest.mark.parametrize(
    ("db", "message"),
    [("/nope/x.db", "its folder does not exist"), ("foo://x", "cannot use foo here")],
)
def test_a_dry_run_refuses_a_database_that_the_command_could_not_open(
    db: str, message: str
) -> None:
    line = ["attn", "--batch-specs", "q1", "--device", "cpu", "--dry-run", "--db", db]
    found = CliRunner().invoke(cli, line)
    assert found.exit_code == 2
    assert message in found.output
