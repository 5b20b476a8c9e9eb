"""A worker as a process of its own: what it answers, and how it ends."""

import os
from collections.abc import Iterator

import pytest

from attnbench.errors import UsageError
from attnbench.records import Status
from attnbench.running.messages import Job
from attnbench.running.plan import Limits
from attnbench.running.process import WorkerProcess
from attnbench.running.workers import WorkerDied, WorkerTimedOut
from attnbench.timing.method import Method, Timer
from tests.conftest import OWN_KERNELS, small_case

LONG = Limits(prepare=600, measure=600)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcess]:
    monkeypatch.setenv("ATTNBENCH_KERNELS", str(OWN_KERNELS))
    with WorkerProcess.start("cpu") as worker:
        yield worker


def job(backend: str, timer: Timer = "cpu") -> Job:
    return Job(small_case(backend=backend), Method(timer, samples=3), 0, 2, False, False)


def test_a_worker_answers_one_question_after_another(worker: WorkerProcess) -> None:
    assert worker.machine.kind == "cpu"
    assert "torch" in worker.environment.components
    runs, refused = worker.probe([small_case(), small_case("mla", "flashmla")])
    assert runs is None
    assert "needs an NVIDIA GPU" in str(refused)
    assert worker.sentinels(600)["bytes_per_second"]
    assert [worker.run(job(name), LONG).status for name in ("naive", "raising", "sdpa")] == [
        Status.OK,
        Status.ERROR,
        Status.OK,
    ]
    assert worker.healthy
    assert not worker.traced
    worker.run(job("naive", "kernel"), LONG)
    assert worker.traced


def test_a_worker_that_dies_says_how_and_its_last_words(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerDied) as died:
        worker.run(job("crashing"), LONG)
    assert str(died.value) == ("the worker was ended by SIGSEGV: last words of a crashing backend")
    assert not worker.healthy


@pytest.mark.parametrize(
    ("backend", "limits", "message"),
    [
        ("hanging", Limits(prepare=0.5, measure=600), "phase 'prepare' did not end within 0.5 s"),
        ("stalling", Limits(prepare=60, measure=0.5), "phase 'measure' did not end within 0.5 s"),
    ],
)
def test_each_phase_of_a_job_has_its_own_time_limit(
    worker: WorkerProcess, backend: str, limits: Limits, message: str
) -> None:
    with pytest.raises(WorkerTimedOut, match=message):
        worker.run(job(backend), limits)
    assert not worker.healthy


def test_a_worker_that_is_ended_leaves_no_process(worker: WorkerProcess) -> None:
    pid = worker._process.pid
    worker.end()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_device_that_is_not_there_is_declined() -> None:
    with pytest.raises(UsageError, match="--device cuda:99: "):
        WorkerProcess.start("cuda:99")
