"""Kernels, copies and memsets of the GPU with their times, from CUPTI through torch.profiler."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from attnbench.errors import AttnbenchError

_recorded = threading.Event()  # set by the first recording: CUPTI then stays in the process


@dataclass(frozen=True, slots=True)
class Activity:
    """A kernel, copy or memset that ran on the GPU."""

    name: str  # demangled
    launch: int  # grows from launch to launch; all nodes of a replayed graph share one
    start: int  # ns
    end: int  # ns


@dataclass(frozen=True, slots=True)
class Profile:
    """The kernels of one call."""

    names: tuple[str, ...]  # of its kernels, each once, in alphabetical order
    span: float  # seconds from the first start to the last end: gaps counted, overlaps once
    total: float  # seconds of all kernels together: gaps left out, overlaps counted twice

    @classmethod
    def of(cls, activities: Sequence[Activity]) -> Self:
        """The profile of one call's activities; ValueError for none."""
        span = max(each.end for each in activities) - min(each.start for each in activities)
        total = sum(each.end - each.start for each in activities)
        names = sorted({trimmed(each.name) for each in activities})
        return cls(tuple(names), span * 1e-9, total * 1e-9)


def recorded(work: Callable[[], object]) -> list[Activity]:
    """All GPU activity from the start of `work` until the GPU is idle, in order of launch.

    Raises AttnbenchError if CUPTI records nothing. A graph must have been captured after the
    first recording of the process: CUPTI may be blind to those captured before it was loaded.
    """
    import torch
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    _recorded.set()
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as recording:
        work()
        torch.cuda.synchronize()
    activities = [
        Activity(
            event.name(),
            event.correlation_id(),
            event.start_ns(),
            event.start_ns() + event.duration_ns(),
        )
        for event in recording.profiler.kineto_results.events()
        if event.device_type() == DeviceType.CUDA
    ]
    if not activities:
        raise AttnbenchError(
            "CUPTI recorded no GPU activity: another profiler may hold it (nsys, ncu, "
            "DCGM's profiling metrics), or this PyTorch was built without it; end that profiler, "
            "or time without CUPTI, e.g. --mode cudagraph"
        )
    return sorted(activities, key=lambda each: (each.launch, each.start))


def traced() -> bool:
    """Whether CUPTI is known to be active: after a recording, or by a tool that CUDA injects.

    Nsight Systems is such a tool. Launching is slower then, and a graph begins to run while the
    rest of it is launched.
    """
    return _recorded.is_set() or "CUDA_INJECTION64_PATH" in os.environ


def by_marker(activities: Iterable[Activity], marker: str) -> list[list[Activity]]:
    """The activities after each marker of that name, without the marker."""
    groups: list[list[Activity]] = []
    for activity in activities:
        if activity.name == marker:
            groups.append([])
        elif groups:
            groups[-1].append(activity)
    return groups


def trimmed(name: str) -> str:
    """A demangled kernel name without return type and parameters: "void f<4>(int)" is "f<4>".

    Template arguments stay: they hold the tile sizes by which kernels differ.
    """
    name = name.removeprefix("void ")
    depth = 0
    for at in reversed(range(len(name))) if name.endswith(")") else ():
        depth += (name[at] == ")") - (name[at] == "(")
        if depth == 0:
            return name[:at].rstrip() or name
    return name
