"""Stored times that cannot be: commands that read them go on without."""

import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from attnbench.cli import cli
from attnbench.db.models import MeasurementRow
from attnbench.db.store import Store
from tests.stored_results import attn, store_run, timed


@pytest.mark.parametrize(
    "command", ["diff --base base --head head", "report --run head", "history --where backend=sdpa"]
)
@pytest.mark.parametrize("median", [0.0, -1.0, math.inf])
def test_a_stored_time_that_cannot_be_is_as_good_as_none(
    tmp_path: Path, command: str, median: float
) -> None:
    file = tmp_path / "bad.db"
    case, other = attn("q512"), attn("q1k")
    with Store.open(file) as store:
        for label in ("base", "head"):
            results = {each: timed(each, 1e-3, 1e-3, 1e-3) for each in (case, other)}
            store_run(store, results, label=label)
        first = store.measurements([2])[0].id
        with store.writing() as session:
            changed = update(MeasurementRow).where(MeasurementRow.id == first)
            session.execute(changed.values(median=median))
        assert store.measurements([2])[0].median is None
    found = CliRunner().invoke(cli, [*command.split(), "--db", str(file)])
    assert found.exit_code == 0, found.output
