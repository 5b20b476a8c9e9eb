"""A table says where a server does more than its times have."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.specs.case import Value
from tests.stored_results import mla, store_run, timed
from tests.test_stored_verdicts import unpacked

NOTE = "times of flashmla leave out the joining of queries"


@pytest.mark.parametrize(
    ("resolved", "said"),
    [({"outside": "query_join"}, 1), ({"queries": "fp8"}, 0)],
    ids=["joined before", "one part in a server too"],
)
def test_backends_whose_queries_a_server_joins_are_named_once(
    resolved: dict[str, Value], said: int, tmp_path: Path
) -> None:
    db = str(tmp_path / "r.db")
    specs = ("q1kv1k", "64q1kv1k")
    joining = {
        case: timed(case, 3e-5, resolved=resolved) for case in (mla(s, "flashmla") for s in specs)
    }
    whole = {case: timed(case, 2e-5) for case in (mla(s, "flashattn_mla") for s in specs)}
    with Store.open(db) as store:
        store_run(store, joining | whole)
    text = CliRunner().invoke(cli, ["report", "--db", db]).stdout
    assert " ".join(text.split()).count(NOTE) == said


@pytest.mark.parametrize("what", ["conclude", "decide"])
def test_what_follows_from_such_times_says_so(what: str, tmp_path: Path) -> None:
    """The study names FLASHMLA the best where lengths differ, and a server would be set to it."""
    db = str(unpacked(tmp_path, "h200_ragged.db"))
    text = CliRunner().invoke(cli, ["study", what, "3", "--db", db]).stdout
    assert " ".join(text.split()).count("times of flashmla, triton_mla leave out the joining") == 1
    before = CliRunner().invoke(cli, ["study", what, "1", "--db", db]).stdout
    assert "leave out the joining" not in " ".join(before.split())
