"""A result that is wrong has no place, however it is read: stored runs with one backend spoilt."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.errors import NotComparable
from attnbench.results.diff import diff
from attnbench.results.history import histories
from attnbench.results.report import read_run
from attnbench.studies.conclusion import conclusion_of
from attnbench.studies.decision import decided
from tests.test_stored_verdicts import unpacked

WINNERS = 10  # the run of the study winner-map
SPOILT = "flash"  # the best of most of its workloads
WRONG = {
    "impossible": "median = median / 1000 WHERE round >= 0",
    "incorrect in one round": "median = NULL, status = 'incorrect' WHERE round = 0",
}


@pytest.fixture(scope="module", params=WRONG)
def spoilt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = unpacked(tmp_path_factory.mktemp("spoilt"), "h200_served_studies.db")
    Store.open(path, note=lambda _: None).close()
    own = f"case_id IN (SELECT id FROM \"case\" WHERE backend = '{SPOILT}')"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE measurement SET {WRONG[request.param]} AND {own}")
    return path


def names(text: object) -> Iterator[str]:
    """The backends in a cell of a table."""
    for part in str(text).split("; "):
        yield part.partition(",")[0]


def test_report_ranks_it_nowhere(spoilt: Path) -> None:
    with Store.open(spoilt) as store:
        report = read_run(store, WINNERS)
        rankings = [r for c in report.cohorts_of(report.selections[0]) for r in c.rankings]
    ranked = {s.contender.case.backend for r in rankings for s in r.standings}
    assert len(ranked) > 2
    assert SPOILT not in ranked


def test_the_view_compares_it_with_nothing(spoilt: Path) -> None:
    query = (
        "SELECT count(*), sum(ratio_to_best IS NULL), count(us) = sum(labels LIKE 'above_%')"
        " FROM results"
        f" WHERE backend = '{SPOILT}' AND run = {WINNERS}"
    )
    with closing(sqlite3.connect(spoilt)) as connection:
        ((rows, without, is_labelled),) = connection.execute(query)
    assert rows == without > 20
    assert is_labelled


def test_a_study_concludes_nothing_from_it(spoilt: Path) -> None:
    with Store.open(spoilt) as store:
        found = conclusion_of(store, WINNERS)
    cells = [cell for t in found.tables for column in t.columns.values() for cell in column]
    assert "triton" in {name for cell in cells for name in names(cell)}
    assert SPOILT not in {name for cell in cells for name in names(cell)}


def test_no_decision_takes_it(spoilt: Path) -> None:
    with Store.open(spoilt) as store:
        facts = decided(store, WINNERS).as_facts()
    assert f'"backend": "{SPOILT}"' not in json.dumps(facts)


@pytest.mark.parametrize(("backend", "is_compared"), [(SPOILT, False), ("flashinfer", True)])
def test_diff_compares_it_with_nothing(spoilt: Path, backend: str, is_compared: bool) -> None:
    with Store.open(spoilt) as store:
        try:
            run = str(WINNERS)
            found = diff(store, run, run, across=f"backend={backend}:triton").comparisons
        except NotComparable:
            found = []
    assert bool(found) is is_compared


def test_history_does_not_have_it(spoilt: Path) -> None:
    with Store.open(spoilt) as store:
        listed = histories(store, "", (), None)
    with closing(sqlite3.connect(spoilt)) as connection:
        found = Counter(name for (name,) in connection.execute("SELECT backend FROM history"))
    assert found == Counter(each.case.backend for each in listed for _ in each.versions)
    assert SPOILT not in found
