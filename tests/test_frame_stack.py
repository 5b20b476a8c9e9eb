"""A worker's calls go deep and back without mapping memory for their frames each time."""

import os
import signal
import sys
from pathlib import Path
from resource import RUSAGE_THREAD, getrusage

import pytest

from attnbench.running.frame_stack import with_room
from attnbench.running.process import Interpreter, WorkerProcess
from attnbench.running.workers import WorkerDied
from tests.processes import workers_of

DEPTH = 300  # frames, as imports go


def back_and_forth(depth: int) -> None:
    """From each depth, calls one frame deeper."""
    for _ in range(100):
        leaf()
    if depth:
        back_and_forth(depth - 1)


def leaf() -> None:
    """A frame."""


def page_faults() -> int:
    """Of this thread: memory that is mapped has one at its first use."""
    return getrusage(RUSAGE_THREAD).ru_minflt


def faults_of_calls() -> int:
    """Page faults of calls that go deep and back."""
    before = page_faults()
    back_and_forth(DEPTH)
    return page_faults() - before


def test_calls_with_room_map_no_memory() -> None:
    found: list[int] = []
    with_room(lambda: found.append(faults_of_calls()))
    assert found[0] < faults_of_calls() / 5


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_worker_serves_with_room() -> None:
    python = Interpreter((sys.executable, "-X", "faulthandler"))  # shows its frames as it aborts
    with WorkerProcess.start("cpu", python) as worker:
        (pid,) = workers_of(os.getpid())
        with Path(f"/proc/{pid}/fd/1").open() as log:
            os.kill(pid, signal.SIGABRT)
            with pytest.raises(WorkerDied):
                worker.probe([])
            assert "in with_room" in log.read()
