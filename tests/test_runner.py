"""A plan in real workers: its order, and when it takes a fresh one."""

from attnbench.records import Status
from attnbench.running.plan import Limits, Plan
from attnbench.running.process import WorkerProcess
from attnbench.running.runner import Known, Runner
from attnbench.timing.method import Method
from tests.conftest import small_case

CPU, KERNEL = Method("cpu", samples=3), Method("kernel", samples=3)


def test_what_traces_comes_last_in_each_round() -> None:
    cases = (small_case(), small_case(backend="sdpa"))
    plan = Plan(cases, (KERNEL, CPU), rounds=2)
    assert [(round_, case.backend, method.timer) for round_, case, method in plan.order()] == [
        (0, "naive", "cpu"),
        (0, "sdpa", "cpu"),
        (0, "naive", "kernel"),
        (0, "sdpa", "kernel"),
        (1, "sdpa", "cpu"),
        (1, "naive", "cpu"),
        (1, "sdpa", "kernel"),
        (1, "naive", "kernel"),
    ]


def test_nothing_else_is_timed_in_a_worker_that_has_traced() -> None:
    started = list[WorkerProcess]()

    def start() -> WorkerProcess:
        started.append(WorkerProcess("cpu", Limits()))
        return started[-1]

    plan = Plan((small_case(),), (CPU, KERNEL), rounds=2, num_layers=1)
    runner = Runner(plan, start(), start)
    jobs = list[tuple[str, Status, int]]()  # timer, how it ended, the number of its worker
    try:
        for round_ in range(plan.rounds):
            for each in runner.run(round_, Known()):
                jobs.append((each.method.timer, each.outcome.status, len(started)))
        runner.sentinels()
    finally:
        runner.end()
    assert jobs == [
        ("cpu", Status.OK, 1),
        ("kernel", Status.OK, 1),
        ("cpu", Status.OK, 2),
        ("kernel", Status.OK, 2),
    ]
    assert len(started) == 3
