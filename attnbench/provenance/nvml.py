"""Facts of a GPU from NVML, the driver's management library."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Board:
    """A GPU's facts that CUDA does not have; None if the GPU or its driver does not report them."""

    gpu_uuid: str  # with its prefix: GPU-..., or MIG-... for an instance
    memory_bus_bits: int | None = None
    max_sm_clock_hz: int | None = None
    max_memory_clock_hz: int | None = None
    power_limit_watts: float | None = None  # the one enforced now, not the factory's
    ecc: bool | None = None
    mig: bool | None = None
    driver: str | None = None
    vbios: str | None = None
    persistence: bool | None = None


def ask(function: Callable[..., T], *args: object) -> T | None:
    """The result of an NVML function; None without driver, support or permission."""
    import pynvml

    try:
        return function(*args)
    except pynvml.NVMLError:
        return None


@contextmanager
def opened() -> Iterator[ModuleType]:
    """The `pynvml` module, initialised; without a driver `ask` returns None for every function."""
    import pynvml

    ask(pynvml.nvmlInit)
    try:
        yield pynvml
    finally:
        ask(pynvml.nvmlShutdown)


def handles(nvml: ModuleType) -> list[object]:
    """Those of all GPUs in NVML's order, empty without a driver."""
    count: int = ask(nvml.nvmlDeviceGetCount) or 0
    return [ask(nvml.nvmlDeviceGetHandleByIndex, index) for index in range(count)]


def has_exclusive_gpu() -> bool:
    """Whether a GPU here takes one process at a time, as some clusters set it."""
    with opened() as nvml:
        modes = [ask(nvml.nvmlDeviceGetComputeMode, handle) for handle in handles(nvml)]
        return nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS in modes


def read_board(uuid: str) -> Board:
    """The board whose UUID is `uuid`, as CUDA writes it: without a prefix.

    By UUID because NVML, unlike CUDA, counts GPUs in PCI order and ignores CUDA_VISIBLE_DEVICES.
    """
    with opened() as nvml:
        for prefix in ("GPU-", "MIG-"):
            handle = ask(nvml.nvmlDeviceGetHandleByUUID, prefix + uuid)
            if handle is not None:
                return _board(nvml, handle, prefix + uuid)
    return Board(f"GPU-{uuid}")


def _board(nvml: ModuleType, handle: object, uuid: str) -> Board:
    milliwatts = ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    mig_modes = ask(nvml.nvmlDeviceGetMigMode, handle)  # [current, after a reset]
    return Board(
        gpu_uuid=uuid,
        memory_bus_bits=ask(nvml.nvmlDeviceGetMemoryBusWidth, handle),
        max_sm_clock_hz=_max_clock_hz(nvml, handle, nvml.NVML_CLOCK_SM),
        max_memory_clock_hz=_max_clock_hz(nvml, handle, nvml.NVML_CLOCK_MEM),
        power_limit_watts=None if milliwatts is None else milliwatts / 1000,
        ecc=_flag(ask(nvml.nvmlDeviceGetCurrentEccMode, handle)),
        mig=uuid.startswith("MIG-") or _flag(mig_modes and mig_modes[0]),
        driver=ask(nvml.nvmlSystemGetDriverVersion),
        vbios=ask(nvml.nvmlDeviceGetVbiosVersion, handle),
        persistence=_flag(ask(nvml.nvmlDeviceGetPersistenceMode, handle)),
    )


def _max_clock_hz(nvml: ModuleType, handle: object, domain: int) -> int | None:
    megahertz: int | None = ask(nvml.nvmlDeviceGetMaxClockInfo, handle, domain)
    return None if megahertz is None else megahertz * 1_000_000


def _flag(state: Any) -> bool | None:
    return None if state is None else bool(state)
