"""Runs that take turns: the order, a fresh worker for each turn, and what is stored."""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import RunStatus
from attnbench.results.noise import turns_of
from attnbench.running.builds import Build, alternately
from attnbench.running.interleaved import Side, interleaved, turns
from attnbench.running.plan import Plan
from attnbench.running.workers import Worker
from attnbench.timing.method import Method
from tests.conftest import small_case
from tests.fake_worker import Does, FakeDevice, FakeWorker, command
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


@dataclass(frozen=True, slots=True)
class OnFake(Build):
    """A build whose workers are fakes."""

    device: FakeDevice

    def start(self, code: Path, device: str) -> Worker:
        return self.device.start(device)


def test_the_worker_that_shows_that_base_can_run_is_the_first_to_measure(tmp_path: Path) -> None:
    device = FakeDevice()
    base, head = (OnFake(side, side, tmp_path, {}, device) for side in ("base", "head"))
    list(alternately(command(tmp_path, name="ab"), (base, head), lambda _: PLAN, print))
    assert sorted(len(worker.jobs) for worker in device.workers) == [0, 1, 1, 1, 1]
    assert all(worker.ended for worker in device.workers)


@pytest.mark.usefixtures("exclusive_gpu")
def test_builds_start_one_after_the_other_on_a_gpu_that_takes_one_process(tmp_path: Path) -> None:
    class Exclusive(FakeDevice):
        def start(self, device: str) -> FakeWorker:
            assert all(worker.ended for worker in self.workers)
            return super().start(device)

    device = Exclusive()
    base, head = (OnFake(side, side, tmp_path, {}, device) for side in ("base", "head"))
    list(alternately(command(tmp_path, name="ab"), (base, head), lambda _: PLAN, print))
    assert [len(worker.jobs) for worker in device.workers] == [0, 1, 1, 1, 1]


def interrupt(folder: Path, device: FakeDevice, plan: Plan, ctrl_c: float, **asked: Any) -> None:
    """Compare sides a and b, and press Ctrl-C at this second."""
    device.ctrl_c = ctrl_c
    sides = [Side(label, device.start) for label in ("a", "b")]
    found = interleaved(command(folder, name="ab", **asked), sides, lambda _: plan, print)
    with pytest.raises(KeyboardInterrupt), closing(found) as outcomes:
        list(outcomes)
    device.ctrl_c = None


def places(folder: Path) -> list[tuple[int, int, str]]:
    """Run, round and UUID of each outcome."""
    with Store.open(folder / "attnbench.db", create=False) as store:
        return [(m.run, m.round, m.uuid) for n in (1, 2) for m in store.measurements([n])]


# Turns of 4 s, in the order a0 b0 b1 a1 a2 b2.
TWO_CASES = Plan((small_case(), small_case(spec="q16")), (Method("cpu"),), rounds=3).isolated()


@pytest.mark.parametrize(
    ("ctrl_c", "kept"), [(7, 0), (9, 1), (11, 1), (13, 1), (15, 1), (17, 2), (21, 2), (23, 2)]
)
def test_a_resumed_comparison_measures_the_interrupted_round_again_on_all_sides(
    ctrl_c: float, kept: int, tmp_path: Path
) -> None:
    device = FakeDevice()
    interrupt(tmp_path, device, TWO_CASES, ctrl_c)
    before = {each for each in places(tmp_path) if each[1] < kept}
    sides = [Side(label, device.start) for label in ("a", "b")]
    again = command(tmp_path, name="ab", resume="latest")
    measured = [(r.run, f.round) for r, f in interleaved(again, sides, lambda _: PLAN, print)]
    order = [(side + 1, round_) for round_, side in turns(3, 2) if round_ >= kept]
    assert measured == [turn for turn in order for _ in TWO_CASES.cases]
    after = places(tmp_path)
    assert before <= set(after)
    assert sorted(each[:2] for each in after) == sorted(
        2 * [(r, n) for r in (1, 2) for n in range(3)]
    )
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert [run.status for run in store.runs()] == [RunStatus.FINISHED] * 2
        assert [set(store.sentinels(run)) for run in (1, 2)] == [{"start", "end"}] * 2


def test_what_failed_before_is_not_tried_again(tmp_path: Path) -> None:
    device = FakeDevice({"sdpa": Does(refuses="no such kernel"), "naive": Does(dies="SIGSEGV")})
    failing = [small_case(backend=name) for name in ("sdpa", "naive")]
    plan = replace(TWO_CASES, cases=(*failing, small_case(backend="other")))
    interrupt(tmp_path, device, plan, 13)
    device.workers.clear()
    sides = [Side(label, device.start) for label in ("a", "b")]
    list(interleaved(command(tmp_path, name="ab", resume="2"), sides, lambda _: plan, print))
    assert [job.case.backend for job in device.jobs] == ["other"] * 2  # one round of both


def test_a_comparison_of_which_one_side_changed_is_not_resumed_and_stays_whole(
    tmp_path: Path,
) -> None:
    device = FakeDevice()
    interrupt(tmp_path, device, TWO_CASES, 15)
    before = places(tmp_path)
    other = FakeDevice(environment=replace(ENVIRONMENT, python="3.12.1"))
    sides = [Side("a", device.start), Side("b", other.start)]
    again = command(tmp_path, name="ab", resume="1")
    with pytest.raises(UsageError, match=r"run 2 cannot be resumed, since .*Python"):
        list(interleaved(again, sides, lambda _: PLAN, print))
    assert places(tmp_path) == before


def test_a_comparison_without_its_second_side_is_begun_again(tmp_path: Path) -> None:
    device = FakeDevice()
    interrupt(tmp_path, device, TWO_CASES, 3)
    sides = [Side(label, device.start) for label in ("a", "b")]
    again = command(tmp_path, name="ab", resume="latest")
    with pytest.raises(UsageError, match="run 1 was interrupted before the other side began"):
        list(interleaved(again, sides, lambda _: PLAN, print))


def test_a_device_of_another_model_than_asked_for_measures_nothing(tmp_path: Path) -> None:
    device = FakeDevice()
    sides = [Side(label, device.start) for label in ("a", "b")]
    with pytest.raises(UsageError, match="--gpu H100: no device is of that model"):
        list(interleaved(command(tmp_path, gpus=["H100"]), sides, lambda _: PLAN, print))
    assert not device.jobs


def test_runs_that_are_interrupted_are_stored_as_such_and_nothing_goes_on(tmp_path: Path) -> None:
    device = FakeDevice()
    interrupt(tmp_path, device, PLAN, 5)  # in the third turn of two seconds each
    assert all(worker.ended for worker in device.workers)
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert [run.status for run in store.runs()] == [RunStatus.INTERRUPTED] * 2
        assert [len(store.measurements([run])) for run in (1, 2)] == [1, 1]
