"""Older databases are migrated after a backup, newer ones refused, failures undone."""

import hashlib
import re
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from attnbench.db import migrations
from attnbench.db.engine import make_engine
from attnbench.db.migrations import REVISIONS, Revisions, upgrade
from attnbench.db.store import Store
from attnbench.db.target import parse_target
from attnbench.db.views import VIEWS
from attnbench.errors import AttnbenchError, UsageError
from tests.stored_results import CASE, OK, ON_GPU, REFUSED, fill, start

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    {change}
"""
ADD_COLUMN = 'op.add_column("run", sa.Column("remark", sa.Text(), nullable=True))'
REBUILD = """
    with op.batch_alter_table("run", recreate="always") as run:
        run.alter_column("label", new_column_name="name")
"""
FAIL = 'op.create_table("extra", sa.Column("x", sa.Text())); op.execute("SELECT absent")'

Later = Callable[..., Revisions]


@pytest.fixture
def later(tmp_path: Path) -> Later:
    """The revisions of a later attnbench, whose next revision is the given change."""

    def revisions(change: str) -> Revisions:
        folder = tmp_path / "later 100%"
        shutil.copytree(REVISIONS.folder, folder)
        text = NEXT.format(revision="next", before=REVISIONS.head, change=change)
        (folder / "next.py").write_text(text)
        return Revisions(folder, "next")

    return revisions


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of today with one outcome."""
    path = tmp_path / "results.db"
    with Store.open(path) as store:
        fill(store, start(store, label="pr"))
    return path


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.execute(query))


def schema(path: Path) -> set[tuple[str, str]]:
    """Name and definition of all that a file holds, white space apart."""
    found = read(path, "SELECT name, sql FROM sqlite_master")
    return {(str(name), re.sub(r"\s+", " ", str(sql))) for name, sql in found}


def dump(path: Path) -> list[str]:
    """All that a file holds, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_the_head_is_that_of_the_revisions() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISIONS.head]


def test_migrations_end_in_the_schema_that_a_new_database_gets(tmp_path: Path) -> None:
    new, migrated = tmp_path / "new.db", tmp_path / "migrated.db"
    Store.open(new).close()
    with make_engine(parse_target(migrated)).begin() as connection:
        upgrade(connection, REVISIONS)
    assert schema(migrated) == schema(new)
    version = "SELECT * FROM attnbench_version"
    assert read(migrated, version) == read(new, version) == [(REVISIONS.head,)]


def test_the_views_are_those_of_the_newest_revision() -> None:
    """To change one, add a revision: a database of the newest revision keeps the views it has."""
    selects = [
        str(select(each.name).compile(dialect=each, compile_kwargs={"literal_binds": True}))
        for each in (make_url(f"{name}://").get_dialect()() for name in ("sqlite", "postgresql"))
        for select in VIEWS.values()
    ]
    digest = hashlib.sha256(" ".join(" ".join(selects).split()).encode()).hexdigest()
    assert (REVISIONS.head, digest[:12]) == ("0008", "2bed32e692fe")


FIRST = Path(__file__).parent / "data" / "results_0001.sql"  # a file of that schema, as SQL
UNKNOWN_THEN = ("footprint_ratio", "kernel_seconds", "enqueue_seconds", "plan_seconds")


def test_a_file_of_the_first_schema_keeps_its_rows_and_gains_what_it_lacks(tmp_path: Path) -> None:
    path, new = tmp_path / "results.db", tmp_path / "new.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST.read_text())
    with Store.open(path, create=False, note=lambda _: None) as store:
        timed, refused = store.measurements([1])
        assert (timed.median, store.samples(timed.id).tolist()) == (2e-5, list(OK.samples))
        assert (refused.status, refused.outcome.reason) == (REFUSED.status, REFUSED.reason)
        for each in (timed, refused):
            assert (each.outcome.guard, each.outcome.kernels) == ({}, ())
            assert {getattr(each.outcome, name) for name in UNKNOWN_THEN} == {None}
        assert store.sentinels(1) == {}
        store.add_sentinels(1, "end", {"bytes_per_second": 4e12})
        store.add(1, CASE, ON_GPU, 2, 2, replace(OK, guard={"watts": 700.0}))
        assert store.measurements([1])[-1].outcome.guard == {"watts": 700.0}
    Store.open(new).close()
    assert schema(path) == schema(new)


def test_an_older_file_is_migrated_after_a_backup(old: Path, later: Later) -> None:
    before, notes = dump(old), list[str]()
    with Store.open(old, create=False, note=notes.append, revisions=later(ADD_COLUMN)) as store:
        assert [run.label for run in store.runs()] == ["pr"]
        assert [each.status for each in store.measurements([1])] == [OK.status]
    assert read(old, "SELECT label, remark FROM run") == [("pr", None)]
    (backup,) = old.parent.glob("*.bak")
    assert re.fullmatch(rf"results\.db\.{REVISIONS.head}-\d{{8}}T\d{{6}}Z\.bak", backup.name)
    assert dump(backup) == before
    assert notes == [
        f"{old}: migrated from schema {REVISIONS.head} to next; the old file is kept as {backup}"
    ]


def test_a_migrated_file_opens_without_another_backup(old: Path, later: Later) -> None:
    revisions, notes = later(ADD_COLUMN), list[str]()
    for _ in range(2):
        Store.open(old, note=notes.append, revisions=revisions).close()
    assert len(notes) == len(list(old.parent.glob("*.bak"))) == 1


def test_a_backup_holds_what_is_still_in_the_write_ahead_log(old: Path, later: Later) -> None:
    with Store.open(old) as store:
        fill(store, start(store, label="late"))
        assert old.with_name("results.db-wal").stat().st_size > 0
        Store.open(old, note=print, revisions=later(ADD_COLUMN)).close()
        (backup,) = old.parent.glob("*.bak")
        assert read(backup, "SELECT label FROM run ORDER BY number") == [("pr",), ("late",)]


def test_an_older_file_is_migrated_once_by_two_who_open_it(old: Path, later: Later) -> None:
    revisions, notes = later(ADD_COLUMN), list[str]()

    def open_it(_: int) -> None:
        Store.open(old, note=notes.append, revisions=revisions).close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(open_it, range(2)))
    assert len(notes) == len(list(old.parent.glob("*.bak"))) == 1


def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(old: Path, later: Later) -> None:
    before = read(old, "SELECT * FROM measurement")
    Store.open(old, note=print, revisions=later(REBUILD)).close()
    assert read(old, "SELECT name FROM run") == [("pr",)]
    assert read(old, "SELECT * FROM measurement") == before
    assert read(old, "PRAGMA foreign_key_check") == []


def test_a_failing_migration_leaves_the_file_as_it_was(old: Path, later: Later) -> None:
    before = dump(old)
    with pytest.raises(AttnbenchError) as error:
        Store.open(old, note=print, revisions=later(FAIL))
    assert str(error.value) == (
        f"{old} could not be migrated to schema next: no such column: absent; it is unchanged. "
        "Use another file meanwhile, e.g. --db new.db"
    )
    assert dump(old) == before
    with Store.open(old, create=False) as store:
        assert len(store.measurements([1])) == 1


def test_a_newer_file_is_refused_and_left_alone(old: Path, later: Later) -> None:
    Store.open(old, note=print, revisions=later(ADD_COLUMN)).close()
    before = old.read_bytes()
    with pytest.raises(UsageError) as error:
        Store.open(old)
    assert str(error.value) == (
        f"{old} was written by a newer attnbench: its schema is next, and this version reads "
        f"up to {REVISIONS.head}. Update attnbench (pip install --upgrade attnbench) or choose "
        "another file, e.g. --db new.db"
    )
    assert old.read_bytes() == before
