"""`attnbench runs`: the list, other labels, and deleting."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.source import Source
from attnbench.records import RunStatus, Status
from tests.stored_results import H200, SOURCE, attn, cache_write, failed, store_run, timed

CASE, REFUSED, WRITES = attn("q512"), attn("q512", "flash"), cache_write(64, "NHD")


@pytest.fixture
def db(tmp_path: Path) -> str:
    """Three runs, the last of them interrupted."""
    path = tmp_path / "runs.db"
    dirty = replace(SOURCE, branch="feature/tiles", dirty="12ab")
    results = {CASE: timed(CASE, 1e-3, 1e-3), REFUSED: failed(Status.REFUSED, "needs a GPU")}
    with Store.open(path) as store:
        store_run(store, results, label="main")
        store_run(store, {CASE: timed(CASE, 1e-3)}, machine=H200, source=dirty)
        store_run(
            store,
            {WRITES: timed(WRITES, 1e-3)},
            label="a label that is longer than most",
            source=Source("none"),
            status=RunStatus.INTERRUPTED,
        )
    return str(path)


def runs(db: str, *options: str, answer: str = "") -> Result:
    return CliRunner().invoke(cli, ["runs", *options, "--db", db], input=answer)


def numbers(db: str) -> list[int]:
    with Store.open(db) as store:
        return [run.number for run in store.runs()]


LIST = """\
run      started, UTC  command      label       source       machine      ok/all
---  ----------------  -----------  ----------  -----------  -----------  ------
  3  2026-07-01 12:30  cache-write  a la..most  -            Intel..ores    1/1!
  2  2026-07-01 12:30  attn         -           featu..aaa*  NVIDIA H200     1/1
  1  2026-07-01 12:30  attn         main        trunk..aaaa  Intel..ores     2/3

*: with uncommitted changes
!: interrupted; --resume NUMBER continues it, except selfcheck
"""


def test_runs_are_listed_newest_first(db: str) -> None:
    found = runs(db)
    assert found.exit_code == 0
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "2026-07-01 12:30", found.stdout) == LIST
    assert runs(db, "list").stdout == found.stdout


def test_a_branch_that_all_runs_share_is_named_once(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store:
        for source in (SOURCE, replace(SOURCE, dirty="12ab")):
            store_run(store, {CASE: timed(CASE, 1e-3)}, source=source)
    lines = runs(str(tmp_path / "runs.db")).stdout.splitlines()
    assert [line.split()[-2] for line in lines[2:4]] == ["aaaaaaa*", "aaaaaaa"]
    assert "all: branch trunk" in lines


def test_an_empty_database_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    Store.open(path).close()
    found = runs(str(path))
    assert (found.exit_code, found.stdout) == (
        0,
        "no runs yet; measure first, e.g. attnbench attn\n",
    )


def test_a_run_gets_another_label(db: str) -> None:
    assert runs(db, "relabel", "2", "pr").stdout == 'run 2 "pr", attn, 1 outcome\n'
    with Store.open(db) as store:
        assert store.run(2).label == "pr"


def test_an_empty_label_takes_the_label_away(db: str) -> None:
    assert runs(db, "relabel", "1", "").stdout == "run 1, attn, 3 outcomes\n"
    with Store.open(db) as store:
        assert store.run(1).label is None


def test_a_deletion_is_asked_for_and_told(db: str) -> None:
    found = runs(db, "delete", "1", "2", answer="y\n")
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        'delete run 1 "main", attn, 3 outcomes; run 2, attn, 1 outcome? [y/N]: y',
        'deleted run 1 "main", attn, 3 outcomes',
        "deleted run 2, attn, 1 outcome",
    ]
    assert numbers(db) == [3]


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_nothing_is_deleted_without_a_yes(db: str, answer: str) -> None:
    assert runs(db, "delete", "1", answer=answer).exit_code == 1
    assert numbers(db) == [1, 2, 3]


def test_yes_asks_nothing(db: str) -> None:
    assert runs(db, "delete", "3", "--yes").exit_code == 0
    assert numbers(db) == [1, 2]


@pytest.mark.parametrize("options", [["delete", "1", "9", "--yes"], ["relabel", "9", "x"]])
def test_an_unknown_run_changes_nothing(db: str, options: list[str]) -> None:
    found = runs(db, *options)
    assert found.exit_code == 2
    assert "there is no run 9" in found.stderr
    assert numbers(db) == [1, 2, 3]


def test_an_option_before_a_subcommand_is_refused_not_ignored(db: str) -> None:
    found = CliRunner().invoke(cli, ["runs", "--db", db, "delete", "1", "--yes"])
    assert found.exit_code == 2
    assert numbers(db) == [1, 2, 3]
