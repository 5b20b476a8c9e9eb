"""Whatever becomes of the database or of the workers, what was measured is not lost."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.commands.output_file import output_file
from attnbench.db import engine
from attnbench.db.store import Store
from attnbench.errors import AttnbenchError, DatabaseLost, UsageError
from attnbench.records import RunStatus
from attnbench.running import spool, workers
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan
from attnbench.running.workers import NoWorker, WorkerDied
from attnbench.timing.method import Method
from tests.conftest import Attnbench, small_case
from tests.fake_worker import Does, FakeDevice, FakeWorker, measuring
from tests.stored_results import fill, start

pytestmark = pytest.mark.usefixtures("own_lock")

PLAN = Plan((small_case(), small_case(backend="sdpa")), (Method("cpu", samples=3),), rounds=2)
ALL = 4  # outcomes of the plan


def deleted(path: Path) -> None:
    path.unlink()


def deleted_with_its_log(path: Path) -> None:
    for each in list(path.parent.glob("attnbench.db*")):
        each.unlink()


def replaced(path: Path) -> None:
    with Store.open(path.with_name("other.db")):
        pass
    path.with_name("other.db").replace(path)


def truncated(path: Path) -> None:
    with path.open("w"):
        pass


def measure_all(run: OpenRun, then: Callable[[], None] | None = None) -> None:
    """Measure the plan; `then` happens after the first outcome."""
    for at, _ in enumerate(run.outcomes()):
        if at == 0 and then is not None:
            then()


def outcomes(path: Path) -> int:
    with Store.open(path, create=False) as store:
        return len(store.measurements([1]))


def resume(device: FakeDevice, folder: Path, db: Path) -> int:
    """Continue run 1 to its end; returns how many jobs that took."""
    before = len(device.jobs)
    with measuring(device, PLAN, folder, db=str(db), resume="1") as run:
        measure_all(run)
    with Store.open(db, create=False) as store:
        assert store.run(1).status is RunStatus.FINISHED
    return len(device.jobs) - before


@pytest.mark.parametrize("fault", [deleted, deleted_with_its_log, replaced, truncated])
def test_a_database_that_vanishes_ends_the_run_and_its_results_are_saved(
    fault: Callable[[Path], None], tmp_path: Path
) -> None:
    device, db = FakeDevice(), tmp_path / "attnbench.db"
    with pytest.raises(DatabaseLost) as lost, measuring(device, PLAN, tmp_path) as run:
        measure_all(run, lambda: fault(db))
    (saved,) = tmp_path.glob("attnbench.saved-*.db")
    assert str(saved) in str(lost.value)
    assert outcomes(saved) == len(device.jobs) == 2
    assert resume(device, tmp_path, saved) == ALL - 2


@dataclass
class Lock:
    """Another process's lock on the database."""

    path: Path

    def hold(self, seconds: float | None = None) -> None:
        self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._connection.execute("BEGIN IMMEDIATE")
        if seconds is not None:
            threading.Timer(seconds, self.release).start()

    def release(self) -> None:
        self._connection.close()


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lock:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.05)
    return Lock(tmp_path / "attnbench.db")


def test_an_outcome_is_written_once_the_lock_on_the_database_is_free(
    lock: Lock, tmp_path: Path
) -> None:
    device = FakeDevice()
    with measuring(device, PLAN, tmp_path) as run:
        measure_all(run, lambda: lock.hold(seconds=0.5))
    assert outcomes(lock.path) == len(device.jobs) == ALL
    (note,) = device.notes
    assert "database is locked" in note
    assert "The outcome is kept" in note


def test_an_outcome_that_no_database_takes_is_kept_in_a_file_that_resume_stores(
    lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "PATIENCE", 0.2)
    device = FakeDevice()
    with pytest.raises(AttnbenchError) as given_up, measuring(device, PLAN, tmp_path) as run:
        measure_all(run, lock.hold)
    (kept,) = tmp_path.glob("*.spool")
    assert str(kept) in str(given_up.value)
    assert kept.stat().st_mode & 0o777 == 0o600
    lock.release()
    assert outcomes(lock.path) == 1
    assert resume(device, tmp_path, lock.path) == ALL - 2
    assert outcomes(lock.path) == ALL
    assert not list(tmp_path.glob("*.spool"))


def test_ctrl_c_while_a_database_is_waited_for_keeps_the_outcome(
    lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", ctrl_c)
    device = FakeDevice()
    with pytest.raises(AttnbenchError), measuring(device, PLAN, tmp_path) as run:
        measure_all(run, lock.hold)
    lock.release()
    assert len(list(tmp_path.glob("*.spool"))) == 1


def test_a_file_of_outcomes_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    device = FakeDevice()
    with measuring(device, PLAN, tmp_path) as run:
        next(run.outcomes())
        uuid = run.store.run(1).uuid
    (tmp_path / "elsewhere").write_text("{}")
    (tmp_path / f"attnbench-{uuid}-1.spool").symlink_to(tmp_path / "elsewhere")
    assert resume(device, tmp_path, tmp_path / "attnbench.db") == ALL - 1


@pytest.mark.parametrize("content", ['{"case": {"fam', "[]", "{}"])
def test_a_file_of_outcomes_that_is_damaged_is_one_sentence(tmp_path: Path, content: str) -> None:
    device = FakeDevice()
    with measuring(device, PLAN, tmp_path) as run:
        next(run.outcomes())
        uuid = run.store.run(1).uuid
    kept = tmp_path / f"attnbench-{uuid}-1.spool"
    kept.write_text(content)
    with pytest.raises(UsageError, match=rf"{kept.name} is damaged .*; delete it, and --resume"):
        resume(device, tmp_path, tmp_path / "attnbench.db")
    kept.unlink()
    assert resume(device, tmp_path, tmp_path / "attnbench.db") == ALL - 1


class Failing(FakeDevice):
    """Starts one worker, then fails `failures` times."""

    failures = 0

    def start(self, device: str) -> FakeWorker:
        if self.workers and self.failures > 0:
            self.failures -= 1
            raise WorkerDied("the worker ended with status 1: ImportError")
        return super().start(device)


def test_no_case_is_lost_to_workers_that_do_not_start_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PAUSES", (0.0,) * 6)
    device = Failing({"sdpa": Does(spoils=True)})
    device.failures = 5
    with measuring(device, PLAN, tmp_path) as run:
        measure_all(run)
        assert run.succeeded
    assert outcomes(tmp_path / "attnbench.db") == ALL


def test_a_run_ends_unfinished_if_no_worker_starts_and_resume_measures_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PAUSES", (0.0,) * 6)
    device = Failing({"sdpa": Does(spoils=True)})
    device.failures = 6
    with (
        pytest.raises(NoWorker, match="ImportError"),
        measuring(device, PLAN, tmp_path) as run,
    ):
        measure_all(run)
    stored = outcomes(tmp_path / "attnbench.db")
    assert 0 < stored < ALL
    assert resume(device, tmp_path, tmp_path / "attnbench.db") == ALL - stored


IN_MEMORY = ["", ":memory:", "sqlite://", "sqlite:///:memory:"]
IN_MEMORY += [f"sqlite:///file:{each}&uri=true" for each in (":memory:?x=y", "a?mode=memory")]
IN_MEMORY += ["sqlite:///file:/a?vfs=memdb&uri=true"]


@pytest.mark.parametrize("target", IN_MEMORY)
def test_a_database_in_memory_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="does not name a file, so results would be lost"):
        Store.open(target)


def test_a_path_that_reads_like_a_uri_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^file:a\.db does not exist"):
        Store.open("file:a.db", create=False)
    assert list(tmp_path.iterdir()) == []
    with Store.open("file:a.db"):
        assert Path("file:a.db").exists()


@pytest.mark.parametrize("target", ["sqlite://x.db", "postgresql://u:secret@h:port/db"])
def test_a_malformed_url_is_one_message_without_the_password(target: str) -> None:
    with pytest.raises(UsageError, match="is not a database URL") as refused:
        Store.open(target)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("option", ["--output-csv", "--output-json"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    option: str, attnbench: Attnbench, tmp_path: Path
) -> None:
    found = attnbench("attn", "--device", "cpu", option, "missing/results")
    assert found.returncode == 2
    assert f"{option}: " in found.stderr.replace("'", "")
    assert "missing does not exist" in found.stderr
    assert not (tmp_path / "attnbench.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        "attn --device cpu --output-csv attnbench.db",
        "attn --device cpu --output-json link",
        "report --output attnbench.db",
        "report --html ./attnbench.db",
        "diff --base 1 --head 1 --across backend --html attnbench.db",
    ],
)
def test_a_table_or_page_never_replaces_a_database(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.open("attnbench.db") as store:
        fill(store, start(store))
    Path("link").symlink_to("attnbench.db")
    found = CliRunner().invoke(cli, words.split())
    assert found.exit_code == 2
    assert "is a database; name another file" in found.stderr
    assert outcomes(Path("attnbench.db")) > 0


def test_a_database_that_was_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with Store.open(tmp_path / "new.db") as store:
        fill(store, start(store))
    refused = pytest.raises(AttnbenchError, match="is a database, and stays as it is")
    with refused, output_file(tmp_path / "new.db"):
        pass
    assert outcomes(tmp_path / "new.db") > 0


def test_a_run_that_is_measured_twice_at_once_is_an_error(tmp_path: Path) -> None:
    with measuring(FakeDevice(), PLAN, tmp_path) as run:
        first, *_ = run.outcomes()
        with closing(sqlite3.connect(tmp_path / "attnbench.db")):
            place = (first.case, first.method, first.round, first.position)
            with pytest.raises(AttnbenchError, match="has this outcome already"):
                run.store.add(run.run, *place, first.outcome)
