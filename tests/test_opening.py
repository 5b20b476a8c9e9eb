"""Opening databases: what is refused and left alone, and several processes that write at once."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Status
from tests.stored_results import (
    OK,
    fill,
    start,
)


def test_a_missing_database_is_not_made_for_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(UsageError) as error:
        Store.open(path, create=False)
    assert str(error.value) == (
        f"{path} does not exist; name another with --db, or measure first: attnbench attn --db "
        f"{path}"
    )
    assert not path.exists()


def test_an_empty_file_is_a_new_database_for_a_writer_alone(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    with pytest.raises(UsageError, match=r"empty\.db holds no results yet; name another with --db"):
        Store.open(path, create=False)
    with Store.open(path) as store:
        assert store.runs() == []


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes\n" * 100)
    with pytest.raises(UsageError) as error:
        Store.open(path, create=create)
    assert str(error.value) == (
        f"{path}: file is not a database; expected a readable and writable attnbench database "
        "or a new file, e.g. --db attnbench.db"
    )
    assert path.read_text() == "these are my notes\n" * 100


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        for name in ("alembic_version", "experiments", "runs", "tags"):
            connection.execute(f"CREATE TABLE {name} (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('ffff')")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(UsageError) as error:
        Store.open(path)
    assert str(error.value) == (
        f"{path} is a database of another program: it holds the tables alembic_version, "
        "experiments, runs, ...; name an attnbench database or a new file, e.g. --db attnbench.db"
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (".", ". is a folder; name a database in it, e.g. ./attnbench.db"),
        ("no/a.db", "no/a.db: its folder does not exist; create it: mkdir -p no"),
        (
            "postgres//x://",
            "postgres//x:// is not a database URL; expected a path or an SQLAlchemy URL, e.g. "
            "attnbench.db or postgresql://user@host/attnbench",
        ),
        (
            "nosql://user:secret@host/results",
            "nosql://user:***@host/results: SQLAlchemy cannot use nosql here (Can't load plugin: "
            "sqlalchemy.dialects:nosql); install its driver, e.g. pip install "
            "'attnbench[postgresql]' for postgresql://",
        ),
    ],
)
def test_a_target_that_cannot_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        Store.open(target)
    assert str(error.value) == message


def test_a_database_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with Store.open(path) as store:
        run = start(store)
    with Store.open(f"sqlite:///file:{path}?mode=ro&uri=true", create=False) as store:
        assert [each.number for each in store.runs()] == [run]
        with pytest.raises(UsageError) as error:
            fill(store, run)
    assert str(error.value).endswith(
        "results.db?mode=ro&uri=true: attempt to write a readonly database; expected a readable "
        "and writable attnbench database or a new file, e.g. --db attnbench.db"
    )


def test_a_path_and_its_url_are_one_database(tmp_path: Path) -> None:
    path = tmp_path / "a b%c?d.db"
    with Store.open(path) as store:
        start(store)
    assert path.exists()
    plain = path.rename(tmp_path / "plain.db")
    with Store.open(f"sqlite:///{plain}", create=False) as store:
        assert len(store.runs()) == 1


def test_a_closed_database_is_one_file(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db") as store:
        fill(store, start(store))
    assert [path.name for path in tmp_path.iterdir()] == ["results.db"]


ROOT = Path(__file__).parents[1]


def run_python(code: str, *args: object) -> "subprocess.Popen[str]":
    """A Python process of its own that can import the tests."""
    command = [sys.executable, "-c", code, *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)


OPEN_TWICE = """
import sys
from attnbench.db.store import Store
for _ in range(2):
    Store.open(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def test_a_current_database_opens_without_alembic(tmp_path: Path) -> None:
    with run_python(OPEN_TWICE, tmp_path / "results.db") as process:
        assert process.communicate()[0] == "False\n"


# Waits for a line, so that several can be let go at once.
WRITE = """
import sys
from attnbench.db.store import Store
from tests.stored_results import CASE, ON_GPU, OK, start
print("ready", flush=True)
sys.stdin.readline()
with Store.open(sys.argv[1]) as store:
    run = start(store)
    for i in range(int(sys.argv[2])):
        print(store.add(run, CASE, ON_GPU, i, i, OK), flush=True)
"""


def released(process: "subprocess.Popen[str]") -> IO[str]:
    """Let a waiting writer go; what it prints from there on."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout


def test_two_processes_make_and_fill_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with run_python(WRITE, path, 40) as one, run_python(WRITE, path, 40) as two:
        for process in (one, two):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        printed = [released(process) for process in (one, two)]
        assert [len(lines.readlines()) for lines in printed] == [40, 40]
    assert (one.returncode, two.returncode) == (0, 0)
    with Store.open(path, create=False) as store:
        assert [run.counts for run in store.runs()] == [{Status.OK: 40}] * 2
        with store.reading() as session:
            assert session.connection().exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_writer_killed_at_any_time_leaves_whole_outcomes(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with run_python(WRITE, path, 100_000) as process:
        printed = released(process)
        told = [printed.readline() for _ in range(31)][1:]
        process.kill()
        told += printed.readlines()
    committed = {int(line) for line in told if line.endswith("\n")}
    with Store.open(path, create=False) as store:
        stored = {each.id for each in store.measurements([1])}
        assert len(committed) >= 30
        assert committed <= stored
        assert len(stored) <= len(committed) + 1
        assert all(tuple(store.samples(id_)) == OK.samples for id_ in stored)
        with store.reading() as session:
            assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
