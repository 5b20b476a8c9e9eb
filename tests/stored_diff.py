"""Two sides of a few cases in a database, and what `attnbench diff` prints of them."""

import re
from collections.abc import Sequence

from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from attnbench.records import Outcome
from attnbench.specs.case import Case
from attnbench.timing.method import Method
from tests.stored_results import CPU, ON_CPU, Results, attn, store_run, timed

CASES = (attn("q512"), attn("8q1kv1k"), attn("q1k"))
CASE = CASES[0]
SIDES = ("--base", "base", "--head", "head")


def scaled(factors: Sequence[float], cases: Sequence[Case] = CASES) -> dict[Case, list[Outcome]]:
    """Three rounds of each case, as slow as its factor says."""
    return {
        case: timed(case, *(1e-3 * factor * wobble for wobble in (1, 1.001, 0.999)))
        for case, factor in zip(cases, factors, strict=True)
    }


def add(
    db: str, label: str, results: Results, machine: Machine = CPU, method: Method = ON_CPU
) -> None:
    with Store.open(db) as store:
        store_run(store, results, label=label, machine=machine, method=method)


def diff(db: str, *options: str) -> Result:
    return CliRunner().invoke(cli, ["diff", "--db", db, *options])


def text_of(found: Result) -> str:
    """What was printed, without the times of the runs."""
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d\s+UTC", "<when>", found.stdout)
