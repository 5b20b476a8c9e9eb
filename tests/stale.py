"""Kernels that give old results: their calls leave what the last honest call of each set left."""

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch

from attnbench.kernels.attn.sdpa import SdpaPrepared
from attnbench.kernels.base import Prepared
from attnbench.kernels.cache_write_base.prepared import CacheWrite
from attnbench.kernels.mla_base.prepared import MlaPrepared
from attnbench.kernels.outputs import Nvfp4, Plain
from attnbench.kernels.paged import PagedPrepared
from attnbench.provenance.machine import Machine
from attnbench.running.again import launched_again
from attnbench.running.execute import launched_sets, timed
from attnbench.running.stopwatch import Stopwatch
from attnbench.running.timers import Timing
from attnbench.timing.guard import unseen
from attnbench.timing.method import Method


def measured(ready: Prepared, machine: Machine, seed: int, samples: int = 3) -> None:
    """Timed as the device is by default, checked after it and with new inputs."""
    method = Method("cudagraph" if machine.kind == "cuda" else "cpu", samples=samples)
    timing = Timing.of(method, ready, machine)
    taken = timed(ready, timing, method, seed, unseen, Stopwatch())
    sets, usual = launched_sets(ready, timing, taken), median(taken.values)
    launched_again(ready, timing.clock, sets, seed, usual, Stopwatch())


def go_stale(ready: Prepared) -> None:
    """From now on the calls copy the results of these inputs."""
    for call in ready.calls:
        call()
    if isinstance(ready, CacheWrite):
        ready.calls = [_old_tokens(ready, index) for index in range(len(ready.calls))]
        return
    kept = [[each.clone() for each in _outputs(ready, at)] for at in range(len(ready.calls))]
    ready.calls = [
        partial(_old_rows, ready, at, call, kept[at]) for at, call in enumerate(ready.calls)
    ]


def _old_rows(
    ready: Prepared, index: int, call: Callable[[], object], kept: list[torch.Tensor]
) -> None:
    """The call, for its writes to a cache, and then the old output."""
    call()
    for output, rows in zip(_outputs(ready, index), kept, strict=True):
        output.copy_(rows)


def _outputs(ready: Prepared, index: int) -> list[torch.Tensor]:
    """The memory of a set's output."""
    if isinstance(ready, SdpaPrepared):
        return ready.results[index]
    if isinstance(ready, MlaPrepared):
        return [ready.decode_outputs[index], ready.prefill_outputs[index]]
    if not isinstance(ready, PagedPrepared):
        outputs: Any = ready
        return [outputs.outputs[index]]
    output = ready.written[index]
    if isinstance(output, Plain):
        return [output.tensor]
    assert isinstance(output, Nvfp4)
    return [output.packed, output.scales]


def _old_tokens(ready: CacheWrite, index: int) -> Callable[[], None]:
    """Writes the tokens that this set's slots hold now to these very slots."""
    where = ready.slots.pages[index].clone(), ready.slots.offsets[index].clone()
    by_slot: torch.Tensor = ready.pool.by_slot[1:]
    kept = by_slot[where].clone()

    def call() -> None:
        by_slot[where] = kept

    return call
