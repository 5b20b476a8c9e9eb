"""Runs that take turns: the order, a fresh worker for each turn, and what is stored."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.records import RunStatus
from attnbench.results.noise import turns_of
from attnbench.running.interleaved import Side, interleaved, turns
from attnbench.running.plan import Plan
from attnbench.timing.method import Method
from tests.conftest import small_case
from tests.fake_worker import FakeDevice, command
from tests.stored_results import ENVIRONMENT

pytestmark = pytest.mark.usefixtures("own_lock")


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


PLAN = Plan((small_case(),), (Method("cpu"),), rounds=2).isolated()


def test_every_turn_has_a_worker_of_its_own_and_rounds_can_be_paired(tmp_path: Path) -> None:
    device = FakeDevice()
    sides = [Side(label, device.start) for label in ("a", "b")]
    living = list[int]()
    order = list[tuple[int, int]]()
    for run, finished in interleaved(command(tmp_path, name="ab"), sides, lambda _: PLAN, print):
        order.append((run.run, finished.round))
        living.append(sum(not worker.ended for worker in device.workers))
    assert order == [(1, 0), (2, 0), (2, 1), (1, 1)]
    assert [len(worker.jobs) for worker in device.workers] == [1, 1, 1, 1]
    assert living == [1, 1, 1, 1]
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert [run.label for run in store.runs()] == ["a", "b"]
        assert {run.status for run in store.runs()} == {RunStatus.FINISHED}
        assert [set(store.sentinels(run)) for run in (1, 2)] == [{"start", "end"}] * 2
        marks = turns_of(store, (1, 2))
    assert marks[1] == marks[2]


def test_each_side_is_measured_by_its_own_workers(tmp_path: Path) -> None:
    base, head = FakeDevice(), FakeDevice(environment=replace(ENVIRONMENT, python="3.12.1"))
    sides = [Side("base", base.start), Side("head", head.start)]
    list(interleaved(command(tmp_path), sides, lambda _: PLAN, print))
    assert [job.seed for job in base.jobs] == [job.seed for job in head.jobs] == [0, 1]
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        pythons = [run.environment["python"] for run in store.runs()]
    assert pythons == [ENVIRONMENT.python, "3.12.1"]


def test_runs_that_are_interrupted_are_stored_as_such_and_nothing_goes_on(tmp_path: Path) -> None:
    device = FakeDevice(ctrl_c=5)  # in the third turn of two seconds each
    sides = [Side(label, device.start) for label in ("a", "b")]
    with (
        pytest.raises(KeyboardInterrupt),
        closing(interleaved(command(tmp_path), sides, lambda _: PLAN, print)) as outcomes,
    ):
        list(outcomes)
    assert all(worker.ended for worker in device.workers)
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert [run.status for run in store.runs()] == [RunStatus.INTERRUPTED] * 2
        assert [len(store.measurements([run])) for run in (1, 2)] == [1, 1]
