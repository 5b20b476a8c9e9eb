"""The parent's side of a worker process: start, requests, time limits, end."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self
from uuid import uuid4

from attnbench.errors import UsageError
from attnbench.kernels.mutants.trial import Trial
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Outcome, Rates
from attnbench.running.channel import Channel, ChannelClosed, NotAMessage
from attnbench.running.descendants import MARK, end_marked
from attnbench.running.messages import (
    Declined,
    Done,
    Hello,
    Job,
    MeasureSentinels,
    Phase,
    Planted,
    PlantFaults,
    Probe,
    Refusals,
)
from attnbench.running.plain import bounded
from attnbench.running.plan import Limits
from attnbench.running.workers import WorkerDied, WorkerTimedOut
from attnbench.specs.case import Case

START_LIMIT = 300.0  # seconds to import its libraries, or to probe
_SEND_LIMIT = 60.0  # seconds for it to take a message
_END_LIMIT = 10.0  # seconds for the system to end it; a core dump takes some
_LAST_WORDS = 4096  # bytes of its log

# The worker runs what this process runs, and never a file of the working directory (-P), which may
# be a checkout of a library or hold a file named like a module of Python.
_BOOT = (
    "import sys; code = sys.argv.pop(1); code in sys.path or sys.path.insert(0, code); "
    "from attnbench.bytecode import keep_bytecode; keep_bytecode(); "
    "from attnbench.running.worker import main; main(sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python of a worker, and variables added to our own environment."""

    command: tuple[str, ...] = (sys.executable,)
    variables: Mapping[str, str] = field(default_factory=dict)
    code: Path = Path(__file__).parents[2]  # the folder that attnbench is imported from


class WorkerProcess:
    """A worker in its own process. A context manager: leaving it ends the process."""

    machine: Machine
    python: str  # the path of its interpreter
    environment: Environment
    source: Source | None

    def __init__(
        self, process: "subprocess.Popen[bytes]", end: socket.socket, log: IO[bytes], mark: str
    ) -> None:
        self._process, self._log, self._mark = process, log, mark
        self._channel = Channel(end, self._lives)
        self.healthy, self.traced, self.phase = True, False, "prepare"

    @classmethod
    def start(cls, device: str, interpreter: Interpreter | None = None) -> Self:
        """Start a worker and wait until it is ready; UsageError for a device it cannot use."""
        log, mark = tempfile.TemporaryFile(), uuid4().hex  # noqa: SIM115 - closed by end()
        ours, theirs = socket.socketpair()
        with theirs:
            interpreter = interpreter or Interpreter()
            process = _spawn(interpreter, device, theirs.fileno(), log, mark)
        worker = cls(process, ours, log, mark)
        worker.python = interpreter.command[0]
        try:
            worker._greet()
        except BaseException:
            worker.end()
            raise
        return worker

    def _greet(self) -> None:
        hello = self._receive("start", START_LIMIT)
        if isinstance(hello, Declined):
            raise UsageError(hello.reason)
        if not isinstance(hello, Hello):
            raise self._unexpected()
        self.machine, self.environment = hello.machine, hello.environment
        self.source = hello.source

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def probe(self, cases: Sequence[Case]) -> Sequence[Outcome | None]:
        """The outcome of each case that is not to be run here, None for the others."""
        self._send(Probe(tuple(cases)))
        reply = self._receive("start", START_LIMIT)
        if not isinstance(reply, Refusals):
            raise self._unexpected()
        return reply.outcomes

    def sentinels(self, limit: float) -> Rates:
        """The sentinels' facts, measured now within `limit` seconds."""
        self._send(MeasureSentinels())
        reply = self._receive("measure", limit)
        if not isinstance(reply, dict):
            raise self._unexpected()
        return reply

    def plant_faults(self) -> Sequence[Trial]:
        """What the check says to mutants of some kernels, tried now."""
        self._send(PlantFaults())
        reply = self._receive("measure", START_LIMIT)
        if not isinstance(reply, Planted):
            raise self._unexpected()
        return reply.trials

    def run(self, job: Job, limits: Limits) -> Outcome:
        """The outcome of a job; after raising WorkerDied or WorkerTimedOut, the worker is ended."""
        self.traced = self.traced or job.method.traces
        self._send(job)
        self.phase, limit = "prepare", limits.prepare
        while True:
            message = self._receive(self.phase, limit)
            if isinstance(message, Done):
                self.healthy = message.healthy
                self._forget_log()
                return message.outcome
            if not isinstance(message, Phase):
                raise self._unexpected()
            self.phase = message.name
            limit = limits.prepare if self.phase == "prepare" else limits.measure

    def end(self) -> None:
        """Kill the worker and all processes it started."""
        self.healthy = False
        self._channel.close()
        if self._process.returncode is None:  # not waited for, so its number is still its own
            self.kill()
            end_marked(self._mark)
            with suppress(subprocess.TimeoutExpired):  # a driver may hold it in the kernel
                self._process.wait(_END_LIMIT)
        self._log.close()

    def kill(self) -> None:
        """Kill the worker, from any thread; whoever waits for it raises WorkerDied and ends it."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _send(self, message: Any) -> None:
        try:
            self._channel.send(message, _SEND_LIMIT)
        except ChannelClosed:
            raise self._died() from None
        except TimeoutError:
            self.end()
            raise WorkerTimedOut(
                f"the worker took no message within {_SEND_LIMIT:g} s; it was ended"
            ) from None

    def _receive(self, phase: str, limit: float) -> Any:
        try:
            return self._channel.receive(limit)
        except ChannelClosed:
            raise self._died() from None
        except NotAMessage:
            raise self._unexpected() from None
        except TimeoutError:
            self.end()
            raise WorkerTimedOut(
                f"phase '{phase}' did not end within {limit:g} s; the worker was ended"
            ) from None

    def _lives(self) -> bool:
        """Whether it has not ended yet; it stays a zombie, so its number is not reused."""
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, ended) is None

    def _died(self) -> WorkerDied:
        """The error that says how the worker ended, with the last line it printed."""
        deadline = time.monotonic() + _END_LIMIT
        while self._lives() and time.monotonic() < deadline:
            time.sleep(0.02)
        by_itself, last = not self._lives(), self._last_line()
        self.end()
        how = _how(self._process.returncode) if by_itself else "closed its channel; it was ended"
        return WorkerDied(f"the worker {how}" + (f": {last}" if last else ""))

    def _unexpected(self) -> WorkerDied:
        """The error of a worker whose channel something else wrote into."""
        self.end()
        return WorkerDied("the worker sent something that is not an answer; it was ended")

    def _last_line(self) -> str:
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LAST_WORDS))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return bounded(lines[-1].strip()) if lines else ""

    def _forget_log(self) -> None:
        """Empty the log: a job's output is only useful if its worker dies."""
        self._log.seek(0)  # for the worker too: both have one file
        self._log.truncate()


def _spawn(
    python: Interpreter, device: str, fd: int, log: IO[bytes], mark: str
) -> "subprocess.Popen[bytes]":
    """Start the process with `fd` as its end of the socket."""
    words = [str(python.code), str(fd), str(os.getpid()), device]
    return subprocess.Popen(
        [*python.command, "-P", "-c", _BOOT, *words],
        env={**os.environ, **python.variables, MARK: mark},
        pass_fds=[fd],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches only the parent
    )


def _how(code: int) -> str:
    return f"ended with status {code}" if code >= 0 else f"was ended by {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    name = signal.Signals(number).name
    return name + (" (memory ran out, most likely)" if name == "SIGKILL" else "")
