"""How a plan is carried out: order, seeds, fresh workers, limits, and what is not tried again."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.records import Outcome, Status
from attnbench.running.messages import Job
from attnbench.running.plan import Limits, Plan
from attnbench.timing.finished import Finished
from attnbench.timing.method import Isolation, Method
from tests.conftest import small_case
from tests.fake_worker import Does, FakeDevice, measuring, right

pytestmark = pytest.mark.usefixtures("own_lock")

ON_CPU, HOT, KERNEL = Method("cpu"), Method("cpu", cache="hot"), Method("kernel")
ONE = small_case()
TWO = (ONE, small_case(backend="sdpa"))


def all_of(device: FakeDevice, plan: Plan, folder: Path) -> list[Finished]:
    """A new run's outcomes."""
    with measuring(device, plan, folder) as run:
        return list(run.outcomes())


def told(outcomes: Iterable[Finished]) -> list[str]:
    return [f"{each.case.backend} {each.round}: {each.outcome.status}" for each in outcomes]


def test_what_traces_comes_last_in_each_round() -> None:
    plan = Plan(TWO, (KERNEL, ON_CPU), rounds=2)
    both = [*plan.order(0), *plan.order(1)]
    assert [(position, case.backend, method.timer) for position, case, method in both] == [
        (0, "naive", "cpu"),
        (1, "sdpa", "cpu"),
        (2, "naive", "kernel"),
        (3, "sdpa", "kernel"),
        (4, "sdpa", "cpu"),
        (5, "naive", "cpu"),
        (6, "sdpa", "kernel"),
        (7, "naive", "kernel"),
    ]


def test_every_outcome_is_stored_before_the_next_is_measured(tmp_path: Path) -> None:
    with measuring(FakeDevice(), Plan(TWO, (ON_CPU,), rounds=2), tmp_path) as run:
        for count, finished in enumerate(run.outcomes(), 1):
            *_, last = run.store.measurements([run.run])
            assert (last.case, last.round) == (finished.case, finished.round)
            assert len(run.store.measurements([run.run])) == count
            assert run.remaining == 4 - count


def test_a_round_takes_no_longer_if_there_are_many(tmp_path: Path) -> None:
    with measuring(FakeDevice(), Plan(TWO, (ON_CPU,), rounds=10**9), tmp_path) as run:
        assert run.remaining == 2 * 10**9
        assert [next(run.round(10**8)).position, next(run.round(1)).position] == [2 * 10**8, 2]
        assert run.remaining == 2 * 10**9 - 2


def test_each_round_has_a_seed_of_its_own_and_all_cases_of_a_round_the_same(
    tmp_path: Path,
) -> None:
    device = FakeDevice()
    all_of(device, Plan(TWO, (ON_CPU,), rounds=3, seed=7), tmp_path)
    assert [job.seed for job in device.jobs] == [7, 7, 8, 8, 9, 9]


def test_a_job_is_measured_as_the_plan_says(tmp_path: Path) -> None:
    device, limits = FakeDevice(), Limits(prepare=5, measure=7)
    plan = Plan((ONE,), (ON_CPU,), 1, 3, num_layers=2, host=True, limits=limits)
    all_of(device, plan, tmp_path)
    assert device.jobs == [Job(ONE, ON_CPU, 3, 2, profile_memory=False, host=True, first=True)]
    assert device.workers[0].limits == [limits]


@pytest.mark.parametrize(("isolate", "jobs"), [("none", [3]), ("rounds", [1, 1, 1])])
def test_rounds_that_are_isolated_start_in_fresh_workers(
    tmp_path: Path, isolate: Isolation, jobs: list[int]
) -> None:
    device = FakeDevice()
    all_of(device, Plan((ONE,), (Method("cpu", isolate=isolate),)), tmp_path)
    assert [len(worker.jobs) for worker in device.workers] == jobs
    assert all(worker.ended for worker in device.workers)


def test_nothing_else_is_timed_in_a_worker_that_has_traced(tmp_path: Path) -> None:
    device = FakeDevice()
    all_of(device, Plan((ONE,), (ON_CPU, KERNEL), rounds=2), tmp_path)
    assert [[job.method.timer for job in worker.jobs] for worker in device.workers] == [
        ["cpu", "kernel"],
        ["cpu", "kernel"],
        [],  # measures the sentinels of the end
    ]


@pytest.mark.parametrize(
    ("fails", "status", "reason"),
    [
        (Does(dies="the worker was ended by SIGSEGV"), "crashed", "ended by SIGSEGV"),
        (Does(prepare=6), "timeout", "phase 'prepare' did not end within 5 s"),
        (Does(measure=8), "timeout", "phase 'measure' did not end within 7 s"),
        (Does(lambda _: Outcome(Status.OOM, "no memory")), "out-of-memory", "no memory"),
        (Does(lambda _: Outcome(Status.INCORRECT, "off")), "incorrect", "off"),
        (Does(lambda _: Outcome(Status.REFUSED, "cannot")), "refused", "cannot"),
    ],
)
def test_a_failing_backend_costs_exactly_its_own_outcome(
    tmp_path: Path, fails: Does, status: str, reason: str
) -> None:
    device = FakeDevice({"flash": fails})
    cases = (TWO[0], small_case(backend="flash"), TWO[1])
    plan = Plan(cases, (ON_CPU,), rounds=2, limits=Limits(prepare=5, measure=7))
    found = all_of(device, plan, tmp_path)
    expected = ["naive 0: ok", f"flash 0: {status}", "sdpa 0: ok", "sdpa 1: ok", "naive 1: ok"]
    assert told(found) == expected
    assert reason in str(found[1].outcome.reason)


def test_what_fails_by_one_method_is_still_tried_by_the_other(tmp_path: Path) -> None:
    def cold(job: Job) -> Outcome:
        return Outcome(Status.OOM, "no memory") if job.method.cache == "cold" else right(job)

    found = all_of(FakeDevice({"naive": Does(cold)}), Plan((ONE,), (ON_CPU, HOT), 2), tmp_path)
    assert [(each.method.cache, each.round) for each in found] == [
        ("cold", 0),
        ("hot", 0),
        ("hot", 1),
    ]


def test_a_worker_that_a_job_has_spoilt_gets_no_other(tmp_path: Path) -> None:
    device = FakeDevice({"naive": Does(spoils=True)})
    all_of(device, Plan(TWO, (ON_CPU,), rounds=1), tmp_path)
    assert [[job.case.backend for job in worker.jobs] for worker in device.workers] == [
        ["naive"],
        ["sdpa"],
    ]


def test_all_workers_are_on_the_device_that_the_first_one_chose(tmp_path: Path) -> None:
    """`auto` would mean the CPU once a GPU has failed."""
    device = FakeDevice({"naive": Does(spoils=True)})
    all_of(device, Plan((ONE,), (ON_CPU,), rounds=2), tmp_path)
    assert [worker.asked for worker in device.workers] == ["auto", "cpu", "cpu"]


def test_cases_that_cannot_run_here_are_stored_once_and_never_tried(tmp_path: Path) -> None:
    device = FakeDevice({"sdpa": Does(refuses="needs a GPU")})
    with measuring(device, Plan(TWO, (ON_CPU, HOT), rounds=2), tmp_path) as run:
        assert run.remaining == 4
        found = list(run.outcomes())
        assert run.succeeded
    assert [each.outcome.reason for each in found if each.case == TWO[1]] == ["needs a GPU"]
    assert {job.case for job in device.jobs} == {TWO[0]}


def test_a_run_in_which_nothing_could_run_has_not_succeeded(tmp_path: Path) -> None:
    device = FakeDevice({"naive": Does(refuses="needs a GPU")})
    with measuring(device, Plan((ONE,), (ON_CPU,)), tmp_path) as run:
        list(run.outcomes())
        assert not run.succeeded


def test_sentinels_that_fail_cost_no_outcome_and_are_noted(tmp_path: Path) -> None:
    device = FakeDevice(has_sentinels=False)
    assert told(all_of(device, Plan((ONE,), (ON_CPU,), 1), tmp_path)) == ["naive 0: ok"]
    assert device.notes == [
        "run 1 has no sentinels of its start: the worker was ended by SIGSEGV",
        "run 1 has no sentinels of its end: the worker was ended by SIGSEGV",
    ]


def test_cases_that_are_added_join_the_plan_and_the_refused(tmp_path: Path) -> None:
    device = FakeDevice({"flash": Does(refuses="needs a GPU")})
    sdpa, flash = TWO[1], small_case(backend="flash")
    with measuring(device, Plan((ONE,), (ON_CPU,), 1), tmp_path) as run:
        list(run.begin())
        assert told(run.follow(run.add_cases([ONE, sdpa, flash]))) == ["flash 0: refused"]
        assert told(run.follow(run.turns(0, {sdpa}))) == ["sdpa 0: ok"]
        assert told(run.round(0)) == ["naive 0: ok"]
        stored = Plan.from_facts(run.store.plan(run.run))
    assert stored == replace(run.plan, cases=(ONE, sdpa, flash))


def test_a_finished_run_has_sentinels_of_its_start_and_end(tmp_path: Path) -> None:
    all_of(FakeDevice(), Plan((ONE,), (ON_CPU,), 1), tmp_path)
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert set(store.sentinels(1)) == {"start", "end"}
