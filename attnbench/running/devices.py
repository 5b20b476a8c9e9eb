"""From `--device` to the devices of this host that share a run."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from attnbench.provenance.machine import gpus_seen_by_nvml
from attnbench.running.device import ALL
from attnbench.running.process import Interpreter, WorkerProcess

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """A device of this host, and variables for its workers."""

    name: str  # as notes and rows name it
    device: str  # as its workers find it
    variables: Mapping[str, str] = field(default_factory=dict)

    def start(self, device: str) -> WorkerProcess:
        """A worker on it."""
        return WorkerProcess.start(device, Interpreter(variables=self.variables))


def local_devices(asked: Sequence[str]) -> list[LocalDevice]:
    """The devices of `--device`, several or one; `all` is every visible GPU, else the CPU."""
    slices = _mig_slices()
    if tuple(asked) == (ALL,):
        count = len(slices) or len(_visible())
        asked = [f"cuda:{index}" for index in range(count)] or ["cpu"]
    if asked[0] == "cpu" and len(asked) > 1:
        return [LocalDevice(f"cpu {number}", "cpu") for number in range(1, len(asked) + 1)]
    return [_local_device(name, slices) for name in asked]


def _local_device(name: str, slices: Sequence[str]) -> LocalDevice:
    """A process sees only its first MIG slice, so a worker of another gets that one alone."""
    numbered = re.fullmatch("cuda:([0-9]+)", name)
    index = int(numbered[1]) if numbered else None
    if index is None or index >= len(slices):
        return LocalDevice(name, name)
    return LocalDevice(name, "cuda:0", {_VISIBLE: slices[index]})


def _visible() -> list[str]:
    """What CUDA_VISIBLE_DEVICES leaves of this host's GPUs: up to its first entry that is none."""
    known = gpus_seen_by_nvml()
    given = os.environ.get(_VISIBLE)
    if given is None:
        return [str(index) for index in range(len(known))]
    found: list[str] = []
    for entry in map(str.strip, given.split(",")):
        if not entry.startswith(("GPU-", "MIG-")) and not _is_index(entry, len(known)):
            break
        found.append(entry)
    return found


def _is_index(entry: str, count: int) -> bool:
    return entry.isdecimal() and int(entry) < count


def _mig_slices() -> list[str]:
    """The MIG slices that CUDA_VISIBLE_DEVICES names; none if it names anything else."""
    found = _visible()
    return found if all(entry.startswith("MIG-") for entry in found) else []
