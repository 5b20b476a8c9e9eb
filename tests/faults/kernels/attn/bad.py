"""Backends that harm the process they run in, each in one way."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from attnbench.kernels.attn.naive import Naive, NaivePrepared
from attnbench.kernels.base import Setting
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case


def channel() -> int:
    """The worker's end of its socket."""
    return int(sys.argv[1])


class ClosesDescriptors(Naive):
    """As a daemon does, and lives on."""

    name: ClassVar = "closes-descriptors"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        os.closerange(3, 1024)
        time.sleep(3600)
        raise AssertionError


class HalfAMessage(Naive):
    name: ClassVar = "half-a-message"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        os.write(channel(), b"attnbnch\0\0\0")
        time.sleep(3600)
        raise AssertionError


class Garbage(Naive):
    name: ClassVar = "garbage"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        os.write(channel(), b"\0\0\0\4abcdefghijklmnop")
        time.sleep(3600)
        raise AssertionError


class Stops(Naive):
    name: ClassVar = "stops"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        os.kill(os.getpid(), signal.SIGSTOP)
        raise AssertionError


class ForksAndDies(Naive):
    """Its child keeps the channel open."""

    name: ClassVar = "forks-and-dies"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        if os.fork() == 0:
            time.sleep(3600)
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError


class LeavesProcesses(Naive):
    """One in its group and one in a session of its own, and it dies."""

    name: ClassVar = "leaves-processes"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        for apart in (False, True):
            subprocess.Popen(["sleep", "3599"], start_new_session=apart)
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError


class LongLastLine(Naive):
    """Ten megabytes in one line, and it dies."""

    name: ClassVar = "long-last-line"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        os.write(2, b"x" * 10**7)
        os._exit(3)


class LongError(Naive):
    name: ClassVar = "long-error"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        raise ValueError("y" * 10**7)


class UnspeakableError(Naive):
    name: ClassVar = "unspeakable-error"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        class Unspeakable(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        raise Unspeakable


class PrintsMuch(Naive):
    """A hundred megabytes each on standard output and standard error, and it goes on."""

    name: ClassVar = "prints-much"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        for stream in (1, 2):
            for _ in range(100):
                os.write(stream, (b"z" * 99 + b"\n") * 10**4)
        return super().prepare(case, setting)


class Exits(Naive):
    """As if all were well."""

    name: ClassVar = "exits"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        os._exit(0)


class EndsPython(Naive):
    name: ClassVar = "ends-python"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        raise SystemExit("bye")


class Interrupts(Naive):
    name: ClassVar = "interrupts"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        raise KeyboardInterrupt


class IgnoresSigterm(Naive):
    """And hangs."""

    name: ClassVar = "ignores-sigterm"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
        raise AssertionError


class AllocatesTooMuch(Naive):
    name: ClassVar = "allocates-too-much"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        import torch

        torch.empty(2**50)
        raise AssertionError


class Overwrites(Naive):
    """Each call first zeroes an input, which makes the result easy: attention over nothing."""

    name: ClassVar = "overwrites-queries"
    target: ClassVar = "queries"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        held = getattr(prepared, self.target)

        def zeroing(call: Callable[[], object]) -> Callable[[], object]:
            return lambda: (held.zero_(), call())[1]

        prepared.calls = [zeroing(call) for call in prepared.calls]
        return prepared


class OverwritesPool(Overwrites):
    name: ClassVar = "overwrites-pool"
    target: ClassVar = "pool"


class RefusalRaises(Naive):
    name: ClassVar = "refusal-raises"

    def refusal(self, case: Case, machine: Machine) -> str | None:
        raise KeyError("a table of mine")


class RefusalDies(Naive):
    name: ClassVar = "refusal-dies"

    def refusal(self, case: Case, machine: Machine) -> str | None:
        os._exit(4)


class NoModule(Naive):
    name: ClassVar = "no-module"
    module: ClassVar = "not_installed.part"


class CountRaises(Naive):
    name: ClassVar = "count-raises"

    def num_decode(self, case: Case) -> int:
        raise ZeroDivisionError


class Resolves(Naive):
    """Says of itself what no database stores."""

    name: ClassVar = "resolves"
    said: ClassVar[object] = None

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        prepared.resolved = {"said": self.said}  # type: ignore[dict-item]
        return prepared


class ResolvesTuple(Resolves):
    name: ClassVar = "resolves-tuple"
    said: ClassVar = (64, 64)


class ResolvesFunction(Resolves):
    name: ClassVar = "resolves-function"
    said: ClassVar = print


class ResolvesNan(Resolves):
    name: ClassVar = "resolves-nan"
    said: ClassVar = float("nan")


class ResolvesSurrogate(Resolves):
    name: ClassVar = "resolves-surrogate"
    said: ClassVar = "\ud800"


class TouchesTooMuch(Naive):
    name: ClassVar = "touches-too-much"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        prepared.touched_bytes = 2**70
        return prepared


class Spoils(Naive):
    """Right, but leaves settings, a variable, a busy thread and another directory behind."""

    name: ClassVar = "a-spoils"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        import torch

        prepared = super().prepare(case, setting)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(mode=True)
        os.environ["SPOILT"] = "1"
        os.chdir("/")
        threading.Thread(target=time.sleep, args=(3600,)).start()
        return prepared


class Unspoilt(Naive):
    """Fails where anything of that reached it."""

    name: ClassVar = "b-unspoilt"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        import torch

        assert torch.get_default_dtype() == torch.float32
        assert not torch.are_deterministic_algorithms_enabled()
        assert "SPOILT" not in os.environ
        assert Path.cwd() != Path("/")
        assert threading.active_count() == 1
        return super().prepare(case, setting)
