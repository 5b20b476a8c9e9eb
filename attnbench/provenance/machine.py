"""The hardware of a measurement, and its identity."""

import os
import platform
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from attnbench.errors import UsageError
from attnbench.provenance import JSON, host
from attnbench.provenance.nvml import ask, handles, opened, read_board
from attnbench.specs.case import Value, content_hash
from attnbench.units import counted


@dataclass(frozen=True, slots=True)
class Machine:
    """One device and its computer; None if a fact is unknown or does not apply."""

    kind: str  # cuda or cpu; foreign if another tool measured
    device: str  # as PyTorch writes it: cuda:0, cpu
    name: str  # of the GPU, or the CPU's model
    gpu_uuid: str | None = None  # as nvidia-smi prints it
    capability: tuple[int, int] | None = None  # compute capability
    sm_count: int | None = None
    l2_bytes: int | None = None  # for a CPU its last-level cache
    memory_bytes: int | None = None
    memory_bus_bits: int | None = None
    max_sm_clock_hz: int | None = None
    max_memory_clock_hz: int | None = None
    power_limit_watts: float | None = None
    ecc: bool | None = None
    mig: bool | None = None
    driver: str | None = None
    vbios: str | None = None
    persistence: bool | None = None
    cpu_model: str = ""
    cpu_count: int = 1  # logical CPUs
    hostname: str = ""
    os: str = ""
    kernel: str = ""
    boot_id: str | None = None
    governor: str | None = None  # of the CPU's frequency

    @property
    def sm(self) -> str | None:
        """The architecture as kernels name it, e.g. SM90; None for a CPU."""
        return None if self.capability is None else "SM{}{}".format(*self.capability)

    @property
    def label(self) -> str:
        """A short name for a table: "NVIDIA H200 (SM90)", "Intel Xeon, 2 cores"."""
        if self.kind == "cuda":
            return f"{self.name} ({self.sm})"
        if self.kind == "foreign":
            return self.name
        return f"{_short_cpu_name(self.name)}, {counted(self.cpu_count, 'core')}"

    @property
    def key(self) -> str:
        """SHA-256 of the facts that identify this hardware, whatever its driver and settings."""
        facts: dict[str, Value] = {"kind": self.kind, "name": self.name}
        if self.kind == "cuda":
            facts |= {"uuid": self.gpu_uuid or "", "memory": self._memory_gib}
        else:
            facts |= {"count": self.cpu_count, "hostname": self.hostname}
        return content_hash(facts)

    @property
    def model_key(self) -> str:
        """SHA-256 of the facts that cards, or computers, of one model share."""
        facts: dict[str, Value] = {"kind": self.kind, "name": self.name}
        if self.kind == "cuda":
            facts |= {"sms": self.sm_count or 0, "bus": self.memory_bus_bits or 0}
            facts |= {"memory": self._memory_gib}
        else:
            facts |= {"count": self.cpu_count}
        return content_hash(facts)

    @property
    def _memory_gib(self) -> int:
        # Whole GiB: drivers reserve different numbers of MiB.
        return round((self.memory_bytes or 0) / 2**30)

    def as_facts(self) -> dict[str, JSON]:
        """Every fact by name, equal to itself after a trip through JSON."""
        return asdict(self) | {"capability": self.capability and list(self.capability)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of `as_facts`."""
        capability = facts["capability"] and tuple(facts["capability"])
        return cls(**{**facts, "capability": capability})


def is_named(model: str, name: str) -> bool:
    """Whether a model has this name in its own, as whole words in any case: H100, not 100."""
    return bool(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", model, re.IGNORECASE))


def read_machine(device: str) -> Machine:
    """This computer with `device`, "cpu" or "cuda:N"; the latter imports torch.

    Raises UsageError for any other text, and for a GPU that PyTorch does not see.
    """
    if device == "cpu":
        return _read_cpu()
    if (numbered := re.fullmatch(r"cuda:(\d+)", device)) is None:
        raise UsageError(f'--device {device}: a device is "cpu" or "cuda:N", e.g. --device cuda:0')
    return _read_gpu(int(numbered[1]))


def gpus_seen_by_nvml() -> list[str]:
    """Names of all GPUs in NVML's order, empty without a driver; does not import torch.

    NVML ignores CUDA_VISIBLE_DEVICES: CUDA may see fewer of them, in another order.
    """
    with opened() as nvml:
        return [ask(nvml.nvmlDeviceGetName, each) or "unknown GPU" for each in handles(nvml)]


def _read_cpu() -> Machine:
    return Machine(
        kind="cpu",
        device="cpu",
        name=host.cpu_model(),
        l2_bytes=host.last_level_cache_bytes(),
        memory_bytes=host.memory_bytes(),
        **_host_facts(),
    )


def _read_gpu(index: int) -> Machine:
    import torch

    if index >= (count := torch.cuda.device_count()):
        raise UsageError(
            f"--device cuda:{index}: PyTorch can use {count or 'no'} GPU{'s' * (count != 1)} here, "
            "counted from cuda:0 among those that CUDA_VISIBLE_DEVICES leaves; "
            "without any, --device cpu works"
        )
    properties = torch.cuda.get_device_properties(index)
    return Machine(
        kind="cuda",
        device=f"cuda:{index}",
        name=properties.name,
        capability=(properties.major, properties.minor),
        sm_count=properties.multi_processor_count,
        l2_bytes=properties.L2_cache_size,
        memory_bytes=properties.total_memory,
        **asdict(read_board(str(properties.uuid))),
        **_host_facts(),
    )


def _host_facts() -> dict[str, Any]:
    return {
        "cpu_model": host.cpu_model(),
        "cpu_count": os.cpu_count() or 1,
        "hostname": socket.gethostname(),
        "os": host.os_name(),
        "kernel": platform.release(),
        "boot_id": host.boot_id(),
        "governor": host.governor(),
    }


def _short_cpu_name(name: str) -> str:
    """Maker and model, without trademarks, clock and number of cores."""
    noise = r"\((?:R|TM)\)|\bCPU\b|\bProcessor\b|\b\d+-Core\b|@.*"
    return " ".join(re.sub(noise, " ", name, flags=re.IGNORECASE).split())
