"""A plan in real workers: its order, and when it takes a fresh one."""

from attnbench.records import Status
from attnbench.running.plan import Limits, Plan
from attnbench.running.process import WorkerProcess
from attnbench.running.runner import Known, Runner
from attnbench.timing.method import Method
from tests.conftest import small_case

CPU, KERNEL = Method("cpu", samples=3), Method("kernel", samples=3)


def test_what_traces_comes_last_in_each_round() -> None:
    plan = Plan((small_case(spec="q8"), small_case(spec="q16")), (KERNEL, CPU), rounds=2)
    assert [(round_, str(case.batch), method.timer) for round_, case, method in plan.order()] == [
        (round_, batch, timer)
        for round_ in (0, 1)
        for timer in ("cpu", "kernel")
        for batch in ("q8", "q16")
    ]


def test_nothing_else_is_timed_in_a_worker_that_has_traced() -> None:
    workers = list[WorkerProcess]()

    def start() -> WorkerProcess:
        workers.append(WorkerProcess("cpu", Limits()))
        return workers[-1]

    plan = Plan((small_case(),), (CPU, KERNEL), rounds=1, num_layers=1)
    runner = Runner(plan, start(), start)
    try:
        found = list(runner.run(0, Known()))
        assert len(workers) == 1
        runner.sentinels()
        assert len(workers) == 2
    finally:
        runner.end()
    assert [(each.method.timer, each.outcome.status) for each in found] == [
        ("cpu", Status.OK),
        ("kernel", Status.OK),
    ]
