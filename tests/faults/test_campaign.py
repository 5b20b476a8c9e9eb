"""Faults of the machine around a run: many writers, a full disk, a clock that jumps, no streams."""

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.records import RunStatus
from attnbench.running import lock, spool
from attnbench.running.plan import Plan
from attnbench.timing.method import Method
from tests.conftest import ALL_SETS, SMALL, Attnbench, small_case, started, wait_for_first_outcome
from tests.fake_worker import FakeDevice, measuring

CASES = tuple(small_case(spec=f"q{length}") for length in (8, 16, 32))
PLAN = Plan(CASES, (Method("cpu", samples=3),), rounds=4)
ALL = 12  # outcomes of the plan
# With all its working sets it goes on for long enough after its first outcome.
QUICK = [*ALL_SETS, "--backend", "naive", "sdpa", "--batch-specs", "q8", "q16", "--repeats", "30"]


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("pragma integrity_check").fetchone()
        broken = connection.execute("pragma foreign_key_check").fetchall()
    return f"{found} {len(broken)}"


def outcomes(path: Path) -> Counter[int]:
    """How many each run has; no place of a run has two."""
    with Store.open(path, create=False) as store:
        found = [m for run in store.runs() for m in store.measurements([run.number], pool=True)]
    places = [(m.run, m.case_key, m.method_key, m.round) for m in found]
    assert len(set(places)) == len(places)
    return Counter(m.run for m in found)


def measure(folder: Path, name: str) -> None:
    """Measure the plan, on a device of its own."""
    with measuring(FakeDevice(), PLAN, folder, label=name) as run:
        for _ in run.outcomes():
            pass


def test_eight_processes_write_to_one_new_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = multiprocessing.get_context("fork")
    writers = []
    for number in range(8):
        monkeypatch.setenv(lock.VARIABLE, str(tmp_path / str(number)))
        writers.append(fork.Process(target=measure, args=(tmp_path, str(number))))
        writers[-1].start()
    for writer in writers:
        writer.join(timeout=300)
    assert [writer.exitcode for writer in writers] == [0] * 8
    assert sorted(outcomes(tmp_path / "attnbench.db").values()) == [ALL] * 8
    assert integrity(tmp_path / "attnbench.db") == "ok 0"


def succeeds(command: list[str]) -> bool:
    """Run a program, if it is there."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not succeeds(mount):
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.usefixtures("own_lock")
def test_a_full_disk_costs_no_outcome_and_resume_measures_the_rest(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "PATIENCE", 0.2)
    with pytest.raises(AttnbenchError, match="full"):
        measure_on_a_disk_that_fills(disk)
    stored = outcomes(disk / "attnbench.db")[1]
    assert 2 <= stored < ALL
    assert len(list(disk.parent.glob("*.spool"))) == 1  # in the temporary folder
    (disk / "filler").unlink()
    with measuring(FakeDevice(), PLAN, disk, resume="1") as run:
        assert len(list(run.outcomes())) == ALL - stored - 1
    assert outcomes(disk / "attnbench.db") == {1: ALL}
    assert integrity(disk / "attnbench.db") == "ok 0"


def measure_on_a_disk_that_fills(disk: Path) -> None:
    with measuring(FakeDevice(), PLAN, disk) as run:
        for stored, _ in enumerate(run.outcomes(), 1):
            if stored == 2:
                fill_up(disk)


def fill_up(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


JUMP = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long jump(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("JUMP_FILE"), "r");
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += jump();
    return status;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec; now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture(scope="module")
def jumping_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that sets the wall clock of a process forward by the seconds in JUMP_FILE."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "jump.c").write_text(JUMP)
    library = folder / "jump.so"
    build = ["gcc", "-shared", "-fPIC", "-o", str(library), str(folder / "jump.c"), "-ldl"]
    if not succeeds(build):
        pytest.skip("needs gcc")
    return library


@pytest.mark.parametrize("years", [-1, 10, -60], ids=lambda years: f"{years} years")
def test_a_clock_that_jumps_in_mid_run_changes_no_result(
    years: int, jumping_clock: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    moved = environment | {"LD_PRELOAD": str(jumping_clock), "JUMP_FILE": str(tmp_path / "jump")}
    with started(tmp_path, moved, "attn", *QUICK, "--rounds", "2") as process:
        wait_for_first_outcome(process, tmp_path)
        (tmp_path / "jump").write_text(str(years * 365 * 86400))
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert outcomes(tmp_path / "attnbench.db") == {1: 8}
    with Store.open(tmp_path / "attnbench.db") as store:
        run = store.run(1)
        assert run.status is RunStatus.FINISHED
        assert run.finished is not None
        assert round((run.finished - run.started).days / 365) == years
        times = [m.median for m in store.measurements([1])]
    assert all(time is not None and 0 < time < 10 for time in times)


def test_a_report_of_such_a_run_is_written(
    jumping_clock: Path, tmp_path: Path, attnbench: Attnbench
) -> None:
    (tmp_path / "jump").write_text(str(-60 * 365 * 86400))
    variables = {"LD_PRELOAD": str(jumping_clock), "JUMP_FILE": str(tmp_path / "jump")}
    words = [*SMALL, "--backend", "naive", "--batch-specs", "q8", "--rounds", "1"]
    assert attnbench("attn", *words, "--repeats", "3", **variables).returncode == 0
    for command in ("report", "runs"):
        found = attnbench(command)
        assert (found.returncode, "Traceback" in found.stderr) == (0, False)


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(
    closed: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    words = ["attn", *SMALL, "--backend", "naive", "--batch-specs", "q8", "--rounds", "1"]
    command = f'exec "$0" -m attnbench "$@" {closed}'
    line = ["sh", "-c", command, sys.executable, *words, "--repeats", "3"]
    found = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert found.returncode == 0
    assert outcomes(tmp_path / "attnbench.db") == {1: 1}
    assert integrity(tmp_path / "attnbench.db") == "ok 0"
