"""Backends that fail, each in its own way, for the tests of what becomes of them."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from attnbench.kernels.attn.naive import Naive, NaivePrepared
from attnbench.kernels.base import Setting
from attnbench.kernels.groups import Group
from attnbench.kernels.reference import rotating
from attnbench.specs.case import Case
from attnbench.timing.cpu import CpuClock

if TYPE_CHECKING:
    import torch


BEFORE_TIMING = 2  # calls


class Crashing(Naive):
    name: ClassVar = "crashing"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        print("last words of a crashing backend", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError("the signal ends this process")


class Hanging(Naive):
    name: ClassVar = "hanging"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        prepared.calls = [lambda: time.sleep(3600)]
        return prepared


class Stalling(Naive):
    """Hangs in its second call."""

    name: ClassVar = "stalling"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        right, made = prepared.calls[0], list[int]()

        def stalling() -> None:
            right()
            made.append(1)
            time.sleep(3600 if len(made) > 1 else 0)

        prepared.calls = [stalling]
        return prepared


class Overreading(Naive):
    """Attends to whole pages, so it is right where requests end with them."""

    name: ClassVar = "overreading"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        return WholePages(case, setting)


class WholePages(NaivePrepared):
    def _attend(self, index: int, group: Group, mask: "torch.Tensor | None") -> None:
        end = -(-group.kv_len // self.block_size) * self.block_size
        super()._attend(index, replace(group, kv_len=end), mask)


class Flooring(Naive):
    """Never reads a last page of a single token."""

    name: ClassVar = "flooring"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        return WithoutSingles(case, setting)


class WithoutSingles(NaivePrepared):
    def _attend(self, index: int, group: Group, mask: "torch.Tensor | None") -> None:
        single = group.kv_len % self.block_size == 1
        super()._attend(index, replace(group, kv_len=group.kv_len - single), mask)


class Levelling(Naive):
    """Takes all requests for as long as the first."""

    name: ClassVar = "levelling"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        return OfOneLength(case, setting)


class OfOneLength(NaivePrepared):
    def _attend(self, index: int, group: Group, mask: "torch.Tensor | None") -> None:
        super()._attend(index, replace(group, kv_len=self.groups[0].kv_len), mask)


class Raising(Naive):
    name: ClassVar = "raising"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        raise ValueError("no such page size\nand a second line")


class Exhausting(Naive):
    name: ClassVar = "exhausting"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        import torch

        torch.empty(2**50, dtype=torch.uint8)
        raise AssertionError("no machine has a pebibyte")


class Wrong(Naive):
    """Off by a tenth everywhere."""

    name: ClassVar = "wrong"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        right = prepared.calls

        def wrong() -> None:
            right[0]()
            prepared.outputs[0].mul_(1.1)

        prepared.calls = [wrong, *right[1:]]
        return prepared


class Forgetful(Naive):
    """Writes the first working set alone, which only the check after timing can see."""

    name: ClassVar = "forgetful"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        prepared.calls = [prepared.calls[0]] * len(prepared.calls)
        return prepared


class Stale(Naive):
    """Keeps the results of its first call of each set, and copies them back in all others."""

    name: ClassVar = "stale"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        right, kept = prepared.calls, dict[int, Any]()

        def stale(index: int) -> None:
            if index in kept:
                prepared.outputs[index].copy_(kept[index])
            else:
                right[index]()
                kept[index] = prepared.outputs[index].clone()

        prepared.calls = rotating(stale, setting.sets)
        return prepared


class Emptying(Naive):
    """Zeroes all values once it is timed, and from then on its output alone."""

    name: ClassVar = "emptying"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        right, made = prepared.calls, list[int]()

        def emptying(index: int) -> None:
            made.append(index)
            if len(made) <= BEFORE_TIMING:
                right[index]()
                return
            prepared.pool[:, :, 1] *= 0
            prepared.outputs[index].zero_()

        prepared.calls = rotating(emptying, setting.sets)
        return prepared


class FixedPrepared(NaivePrepared):
    renewable: ClassVar = False

    def renew(self, seed: int) -> None:
        raise AssertionError("its class says that it cannot")


class Fixed(Naive):
    """Cannot take new inputs in place."""

    name: ClassVar = "fixed"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        return FixedPrepared(case, setting)


class Unfinished(Naive):
    """Leaves the last token of the batch unwritten."""

    name: ClassVar = "unfinished"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        right = prepared.calls[0]

        def unfinished() -> None:
            right()
            prepared.outputs[0][-1] = float("nan")

        prepared.calls = [unfinished]
        return prepared


class Paced(Naive):
    """Takes the milliseconds that PACED_MS says: one backend at two speeds."""

    name: ClassVar = "paced"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        prepared = super().prepare(case, setting)
        seconds = float(os.environ.get("PACED_MS", "2")) / 1000
        prepared.calls = [partial(paced, call, seconds) for call in prepared.calls]
        return prepared


def paced(call: object, seconds: float) -> None:
    """Run `call` and wait until `seconds` are over, busily: a sleep is too coarse."""
    end = time.perf_counter() + seconds
    assert callable(call)
    call()
    while time.perf_counter() < end:
        pass


class Clocked(Naive):
    """Takes the seconds that CLOCKED_S says by a fake clock, beside which all else is short."""

    name: ClassVar = "clocked"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        waited = 0.0

        def clocked(call: Callable[[], object], seconds: float) -> None:
            nonlocal waited
            call()
            waited += seconds

        CpuClock.__init__.__defaults__ = (lambda: time.perf_counter() + waited,)
        prepared = super().prepare(case, setting)
        seconds = float(os.environ.get("CLOCKED_S", "1"))
        prepared.calls = [partial(clocked, call, seconds) for call in prepared.calls]
        return prepared
