"""Signals end a command in good order: results are stored, processes are gone, resume goes on."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SMALL, run_attnbench, started, wait_for_first_outcome
from tests.processes import workers_of

WORDS = ["attn", *SMALL, "--batch-specs", "q8", "q16", "--backend", "naive", "sdpa"]
# 8 outcomes, of which a process started with FOR_EVER gets no further than the first.
ROUNDS = ["attn", *SMALL, "--batch-specs", "q8", "q16", "--backend", "naive", "paced"]
ROUNDS += ["--rounds", "2", "--repeats", "3"]
FOR_EVER = {"PACED_MS": "3600000"}
ALL = 2 * 2 * 2


def rows(folder: Path, query: str) -> list[Any]:
    with sqlite3.connect(folder / "attnbench.db") as connection:
        return connection.execute(query).fetchall()


@contextmanager
def hangups_end() -> Iterator[None]:
    """SIGHUP ends what starts here, also if the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGINT,),
        (signal.SIGTERM,),
        (signal.SIGHUP,),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGHUP, signal.SIGINT),
    ],
    ids=lambda signals: "-".join(each.name for each in signals),
)
def test_a_signal_ends_a_run_in_good_order(
    signals: tuple[signal.Signals, ...], tmp_path: Path, environment: dict[str, str]
) -> None:
    interrupt(tmp_path, environment, signals)
    assert rows(tmp_path, "select status from run") == [("interrupted",)]
    assert rows(tmp_path, "select count(*) from measurement") == [(1,)]


def interrupt(
    folder: Path, environment: dict[str, str], signals: tuple[signal.Signals, ...]
) -> None:
    """End a run by signals after its first outcome."""
    with hangups_end(), started(folder, environment | FOR_EVER, *ROUNDS) as process:
        wait_for_first_outcome(process, folder)
        for each in signals:
            process.send_signal(each)
        _, stderr = process.communicate(timeout=60)
        assert workers_of(process.pid) == []
    assert process.returncode == 130
    assert "continue with: attnbench attn --resume 1" in stderr


def test_resume_completes_a_run_that_signals_ended(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    interrupt(tmp_path, environment, (signal.SIGTERM, signal.SIGINT))
    assert run_attnbench(tmp_path, environment, "attn", "--resume", "1").returncode == 0
    assert rows(tmp_path, "select count(*), count(distinct uuid) from measurement") == [(ALL, ALL)]


def test_a_comparison_of_builds_that_is_ended_leaves_no_folder_and_says_so(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    builds = ["--base-env", "SIDE=1", "--head-env", "SIDE=2"]
    with started(tmp_path, environment | FOR_EVER, "ab", *builds, "--", *ROUNDS) as process:
        wait_for_first_outcome(process, tmp_path)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert workers_of(process.pid) == []
    assert process.returncode == 130
    assert list(tmp_path.glob("attnbench-*")) == []
    assert {status for (status,) in rows(tmp_path, "select status from run")} == {"interrupted"}


LOST = """
import os, signal, time
from attnbench.commands.interrupts import end_as_ctrl_c_does

class Freed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)

end_as_ctrl_c_does()
try:
    Freed()
    time.sleep(20)
    print("went on")
except KeyboardInterrupt:
    print("ended")
"""


def test_a_signal_that_arrives_while_python_frees_an_object_is_not_lost() -> None:
    found = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("ended\n", "")


def test_ctrl_c_while_modules_load_ends_without_a_traceback(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    found = run_attnbench(tmp_path, environment | {"PYTHONPATH": str(tmp_path)}, "runs")
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "")


def test_a_signal_that_is_ignored_as_by_nohup_ends_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with started(tmp_path, environment, *WORDS, "--rounds", "1", "--repeats", "99") as process:
            wait_for_first_outcome(process, tmp_path)
            process.send_signal(signal.SIGHUP)
            process.communicate(timeout=120)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.returncode == 0


def can_be_process_1() -> bool:
    unshare = shutil.which("unshare")
    words = [str(unshare), "-fp", "--mount-proc", "true"]
    if unshare is None:
        return False
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_be_process_1(), reason="needs the right to make a PID namespace")
def test_a_command_works_as_process_1_of_a_container(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "attnbench", *WORDS, "--rounds", "1", "--repeats", "3"]
    found = subprocess.run(
        ["unshare", "-fp", "--mount-proc", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_files_of_the_working_directory_are_not_run(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    for name in ("random", "torch", "json"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('executed {name} unasked')")
    script = Path(sys.executable).with_name("attnbench")
    if not script.exists():
        pytest.skip("attnbench is not installed")
    words = [*WORDS, "--rounds", "1", "--repeats", "3"]
    found = subprocess.run(
        [script, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "unasked" not in found.stderr
    assert found.returncode == 0


def test_a_worker_that_is_killed_while_it_starts_is_one_sentence_or_none(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with started(tmp_path, environment, *WORDS, "--rounds", "1", "--repeats", "3") as process:
        while not (found := workers_of(process.pid)):
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(found[0], signal.SIGKILL)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode in {0, 1}
    assert "Traceback" not in stderr
    assert (process.returncode == 1) == ("Error: the worker was ended by SIGKILL" in stderr)


def test_too_little_memory_to_start_a_worker_is_one_sentence(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    line = ["sh", "-c", 'ulimit -v 600000; exec "$0" -m attnbench "$@"', sys.executable, *WORDS]
    found = subprocess.run(
        line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    # Without memory a library raises, aborts or follows a null pointer, by where it runs out.
    assert re.search(r"Error: the worker (ended|was ended by SIG[A-Z]+)", found.stderr)


def test_a_worker_that_is_killed_costs_one_outcome(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with started(tmp_path, environment | {"PACED_MS": "50"}, *ROUNDS) as process:
        wait_for_first_outcome(process, tmp_path)
        (worker,) = workers_of(process.pid)
        os.kill(worker, signal.SIGKILL)
        process.communicate(timeout=120)
    assert process.returncode == 1
    counts = dict(rows(tmp_path, "select status, count(*) from measurement group by status"))
    assert counts["crashed"] == 1
    assert counts["ok"] >= ALL - 3
