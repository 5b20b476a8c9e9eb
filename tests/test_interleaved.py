"""Runs that take turns: the order, a fresh worker for each turn, and what is stored."""

import tempfile
from functools import partial
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from attnbench.records import RunStatus
from attnbench.results.noise import turns_of
from attnbench.running.interleaved import Interleaved, Side, turns
from attnbench.running.plan import Limits, Plan
from attnbench.running.process import WorkerProcess
from attnbench.running.session import Command
from attnbench.timing.method import Method
from tests.conftest import small_case


@pytest.mark.parametrize(
    ("rounds", "sides", "order"),
    [
        (1, 2, "A0 B0"),
        (2, 2, "A0 B0 B1 A1"),
        (3, 2, "A0 B0 B1 A1 A2 B2"),
        (2, 3, "A0 B0 C0 C1 B1 A1"),
        (2, 1, "A0 A1"),
    ],
)
def test_the_order_turns_back_each_round(rounds: int, sides: int, order: str) -> None:
    assert " ".join(f"{'ABC'[side]}{round_}" for round_, side in turns(rounds, sides)) == order


class Starts:
    """Starts workers, and keeps which side each was for and how many others lived then."""

    def __init__(self) -> None:
        self.workers: list[WorkerProcess] = []
        self.sides: list[str] = []
        self.living: list[int] = []

    def side(self, label: str) -> Side:
        return Side(label, partial(self._start, label))

    def _start(self, label: str) -> WorkerProcess:
        self.sides.append(label)
        self.living.append(sum(worker.healthy for worker in self.workers))
        self.workers.append(WorkerProcess("cpu", Limits()))
        return self.workers[-1]


def plan(_: Machine) -> Plan:
    method = Method("cpu", samples=3, isolate="rounds")
    return Plan((small_case(),), (method,), rounds=2, num_layers=1)


def test_every_turn_has_a_worker_of_its_own_and_rounds_can_be_paired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # a lock of its own
    command = Command("ab", ["attnbench"], {}, "cpu", str(tmp_path / "pair.db"))
    starts = Starts()
    with Interleaved(command, [starts.side("a"), starts.side("b")], plan, print) as pair:
        order = [(run.run, finished.round) for run, finished in pair.outcomes()]
    assert order == [(1, 0), (2, 0), (2, 1), (1, 1)]
    assert starts.sides == ["a", "b", "b", "a"]
    assert starts.living == [0, 0, 0, 0]
    with Store.open(tmp_path / "pair.db", create=False) as store:
        assert [run.label for run in store.runs()] == ["a", "b"]
        assert {run.status for run in store.runs()} == {RunStatus.FINISHED}
        assert [set(store.sentinels(run)) for run in (1, 2)] == [{"start", "end"}] * 2
        marks = turns_of(store, (1, 2))
    assert marks[1] == marks[2]
