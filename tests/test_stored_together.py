"""Outcomes of several cards that have come in together: one transaction, or a file for each."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from attnbench.db import engine
from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.records import Outcome
from attnbench.running import spool
from attnbench.running.card import Awaited
from attnbench.running.dealer import measured
from attnbench.running.deck import deck_of
from attnbench.running.local_card import LocalCard
from attnbench.running.messages import Job
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Limits
from attnbench.running.session import start_run
from attnbench.running.spool import Spool
from tests.fake_worker import command
from tests.test_dealer import PLAN, cards, stored


class AnswersAtOnce(LocalCard):
    """A card whose outcomes are there as soon as they are asked for."""

    def outcome(self, job: Job, limits: Limits) -> Future[Outcome]:
        found = super().outcome(job, limits)
        found.result()
        return found


@contextmanager
def at_once(folder: Path) -> Iterator[OpenRun]:
    """A run on three such cards."""
    with Store.open(folder / "attnbench.db") as store, ExitStack() as stack:
        found = [AnswersAtOnce(d.machine.device, "auto", d.start, print) for d in cards({}, {}, {})]
        for card in found:
            stack.callback(card.close)
            card.greet().result()
        run = start_run(store, command(folder), PLAN, found[0], print)
        yield stack.enter_context(OpenRun(store, run, PLAN, Awaited(found), print, found))


def test_outcomes_that_come_together_are_one_transaction(tmp_path: Path) -> None:
    commits = list[object]()
    with at_once(tmp_path) as run:
        event.listen(run.store.engine, "commit", commits.append)
        list(measured([run], deck_of, print))
    assert len(stored(tmp_path)) == 36
    assert len(commits) < 24  # 12 with outcomes; reading ends with one too


def measure_until_the_database_is_locked(folder: Path) -> None:
    other = sqlite3.connect(folder / "attnbench.db", isolation_level=None)
    with closing(other), at_once(folder) as run:
        for _ in measured([run], deck_of, print):
            if not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")


def test_outcomes_that_no_database_takes_are_each_kept_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "PATIENCE", 0.2)
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.05)
    with pytest.raises(AttnbenchError, match=r"the last 3 outcomes are kept in .*stores them"):
        measure_until_the_database_is_locked(tmp_path)
    assert len(list(tmp_path.glob("*.spool"))) == 3
    assert len(stored(tmp_path)) == 3
    with Store.open(tmp_path / "attnbench.db") as store:
        assert Spool(store.file, store.run(1)).restore(store) == 3
    assert len(stored(tmp_path)) == 6
