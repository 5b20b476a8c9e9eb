"""A worker process as its parent sees it: started, asked, limited in time, ended."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Self

from attnbench.errors import AttnbenchError, UsageError
from attnbench.records import Outcome
from attnbench.running.messages import (
    Declined,
    Done,
    Hello,
    Job,
    MeasureSentinels,
    Phase,
    Probe,
    Refusals,
)
from attnbench.running.plan import Limits
from attnbench.specs.case import Case


class WorkerDied(AttnbenchError):
    """The worker is gone; says how, and its last words."""


class WorkerTimedOut(AttnbenchError):
    """The worker took too long and was ended; says in which phase."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that a worker runs in, and what it is given beside our own environment."""

    command: tuple[str, ...] = (sys.executable,)
    variables: Mapping[str, str] = field(default_factory=dict)


class WorkerProcess:
    """One worker on one device. A context manager: leaving it ends the process."""

    def __init__(self, device: str, limits: Limits, interpreter: Interpreter | None = None) -> None:
        python = interpreter or Interpreter()
        self._limits = limits
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            self._process = subprocess.Popen(
                [*python.command, "-m", "attnbench.running.worker", str(fd), device],
                env={**os.environ, **python.variables},
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the parent alone
            )
        self._connection: Connection = Connection(ours.detach())
        self.healthy = True
        self.traced = False  # whether it has had a job that traces
        hello = self._receive("start", limits.start)
        if isinstance(hello, Declined):
            self.end()
            raise UsageError(hello.reason)
        assert isinstance(hello, Hello)
        self.machine, self.environment = hello.machine, hello.environment
        self.source = hello.source

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def probe(self, cases: tuple[Case, ...]) -> tuple[str | None, ...]:
        """Why each case cannot run here, None where it can."""
        self._send(Probe(cases))
        reply = self._receive("start", self._limits.start)
        assert isinstance(reply, Refusals)
        return reply.reasons

    def sentinels(self) -> Mapping[str, float | None]:
        """The device's ceilings, measured now."""
        self._send(MeasureSentinels())
        reply: Mapping[str, float | None] = self._receive("measure", self._limits.measure)
        return reply

    def run(self, job: Job) -> Outcome:
        """The outcome of a job; raises WorkerDied or WorkerTimedOut, after which it is ended."""
        self.traced = self.traced or job.method.traces
        self._send(job)
        phase, limit = "prepare", self._limits.prepare
        while True:
            message = self._receive(phase, limit)
            if isinstance(message, Done):
                self.healthy = message.healthy
                return message.outcome
            assert isinstance(message, Phase)
            phase = message.name
            limit = self._limits.prepare if phase == "prepare" else self._limits.measure

    def end(self) -> None:
        """Kill the worker and all that it started; nothing of its is left behind."""
        self.healthy = False
        self._connection.close()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _send(self, message: Any) -> None:
        try:
            self._connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerDied(self._last_words()) from None

    def _receive(self, phase: str, limit: float) -> Any:
        try:
            if self._connection.poll(limit):
                return self._connection.recv()
        except (EOFError, ConnectionResetError):
            raise WorkerDied(self._last_words()) from None
        self.end()
        raise WorkerTimedOut(f"no end of phase '{phase}' within {limit:g} s; the worker was ended")

    def _last_words(self) -> str:
        """How the worker ended, and the last line that it printed."""
        code = self._process.wait()
        how = f"ended with status {code}" if code >= 0 else f"was ended by {_signal_name(-code)}"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        self.end()
        return f"the worker {how}" + (f": {lines[-1].strip()}" if lines else "")


def _signal_name(number: int) -> str:
    name = signal.Signals(number).name
    return name + (" (memory ran out, most likely)" if name == "SIGKILL" else "")
