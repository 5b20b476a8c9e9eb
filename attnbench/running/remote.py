"""The far end of a card of a cluster: in a process on its node, the workers of one device."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from attnbench.records import Outcome, Rates
from attnbench.running.lock import device_lock
from attnbench.running.messages import Job
from attnbench.running.plan import Limits
from attnbench.running.process import WorkerProcess
from attnbench.running.workers import Workers
from attnbench.specs.case import Case


class Remote:
    """The workers of the device that Ray has given to an actor, in the actor's process."""

    def __init__(self, device: str, wait: bool) -> None:
        if device != "cpu" and os.environ.get("OMP_NUM_THREADS") == "1":
            del os.environ["OMP_NUM_THREADS"]  # Ray sets it to an actor's CPUs
        self._workers = Workers(WorkerProcess.start, device)
        self._wait, self._held = wait, ExitStack()

    def greet(self) -> dict[str, Any]:
        """Facts of the device and its software, once the device is locked.

        Ray itself shares out the CPUs of a host, so no lock guards them.
        """
        worker = self._workers.worker()
        if worker.machine.kind != "cpu":
            lock = device_lock(worker.machine, wait=self._wait, note=lambda _: None)
            self._held.enter_context(lock)
        return {
            "machine": worker.machine.as_facts(),
            "environment": worker.environment.as_facts(),
            "source": worker.source and asdict(worker.source),
            "python": worker.python,
        }

    def refused(self, cases: Sequence[Case]) -> Mapping[Case, Outcome]:
        """As `Card.refused`."""
        return self._workers.refused(cases)

    def sentinels(self, limit: float) -> Rates:
        """As `Card.sentinels`."""
        return self._workers.sentinels(limit)

    def outcome(self, job: Job, limits: Limits) -> Outcome:
        """As `Card.outcome`."""
        return self._workers.outcome(job, limits)

    def renew(self) -> None:
        """As `Card.renew`."""
        self._workers.end()
