"""A worker process as its parent sees it: started, asked, limited in time, ended."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import IO, Any, Self

from attnbench.errors import UsageError
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
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
from attnbench.running.workers import WorkerDied, WorkerTimedOut
from attnbench.specs.case import Case

START_LIMIT = 300.0  # seconds to import its libraries, or to probe


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that a worker runs in, and what it is given beside our own environment."""

    command: tuple[str, ...] = (sys.executable,)
    variables: Mapping[str, str] = field(default_factory=dict)


class WorkerProcess:
    """A worker that is a process of its own. A context manager: leaving it ends the process."""

    machine: Machine
    environment: Environment
    source: Source | None

    def __init__(
        self, process: "subprocess.Popen[bytes]", connection: Connection, log: IO[bytes]
    ) -> None:
        self._process, self._connection, self._log = process, connection, log
        self.healthy, self.traced = True, False

    @classmethod
    def start(cls, device: str, interpreter: Interpreter | None = None) -> Self:
        """One that is ready for jobs; UsageError for a device that it cannot use."""
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        ours, theirs = socket.socketpair()
        with theirs:
            process = _spawn(interpreter or Interpreter(), device, theirs.fileno(), log)
        worker = cls(process, Connection(ours.detach()), log)
        worker._greet()
        return worker

    def _greet(self) -> None:
        hello = self._receive("start", START_LIMIT)
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

    def probe(self, cases: Sequence[Case]) -> Sequence[str | None]:
        """Why each case cannot run here, None where it can."""
        self._send(Probe(tuple(cases)))
        reply = self._receive("start", START_LIMIT)
        assert isinstance(reply, Refusals)
        return reply.reasons

    def sentinels(self, limit: float) -> Mapping[str, float | None]:
        """The device's ceilings, measured now within `limit` seconds."""
        self._send(MeasureSentinels())
        reply: Mapping[str, float | None] = self._receive("measure", limit)
        return reply

    def run(self, job: Job, limits: Limits) -> Outcome:
        """The outcome of a job; raises WorkerDied or WorkerTimedOut, after which it is ended."""
        self.traced = self.traced or job.method.traces
        self._send(job)
        phase, limit = "prepare", limits.prepare
        while True:
            message = self._receive(phase, limit)
            if isinstance(message, Done):
                self.healthy = message.healthy
                return message.outcome
            assert isinstance(message, Phase)
            phase = message.name
            limit = limits.prepare if phase == "prepare" else limits.measure

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


def _spawn(python: Interpreter, device: str, fd: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """The process, whose end of the socket is `fd`."""
    return subprocess.Popen(
        [*python.command, "-m", "attnbench.running.worker", str(fd), device],
        env={**os.environ, **python.variables},
        pass_fds=[fd],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches the parent alone
    )


def _signal_name(number: int) -> str:
    name = signal.Signals(number).name
    return name + (" (memory ran out, most likely)" if name == "SIGKILL" else "")
