"""A worker that is stopped ends at a limit, whatever it was just about to be asked."""

import os
import signal

import pytest

from attnbench.running import process
from attnbench.running.process import WorkerProcess
from attnbench.running.workers import WorkerTimedOut
from tests.conftest import small_case


@pytest.mark.parametrize("count", [1, 2000], ids=["small", "larger than the socket's buffer"])
def test_a_probe_of_a_stopped_worker_ends(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [small_case(spec=f"{length}q1kv64") for length in range(1, count + 1)]
    with WorkerProcess.start("cpu") as worker:
        os.kill(worker._process.pid, signal.SIGSTOP)
        monkeypatch.setattr(process, "_SEND_LIMIT", 0.5)
        monkeypatch.setattr(process, "START_LIMIT", 0.5)
        with pytest.raises(WorkerTimedOut):
            worker.probe(cases)
        assert not worker.healthy
