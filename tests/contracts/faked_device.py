"""A GPU where there is none: a device that only tells what it is."""

import os
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from attnbench.provenance.machine import Machine

MEMORY = 80 * 10**9


@dataclass(frozen=True)
class Gpu:
    """One of a generation that vLLM's registry serves."""

    name: str
    capability: tuple[int, int]
    sm_count: int

    @property
    def machine(self) -> Machine:
        """As attnbench describes it."""
        return Machine("cuda", "cuda:0", self.name, None, self.capability, self.sm_count)


GPUS = {
    "SM80": Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 108),
    "SM90": Gpu("NVIDIA H200", (9, 0), 132),
    "SM100": Gpu("NVIDIA B200", (10, 0), 148),
    "SM120": Gpu("NVIDIA RTX PRO 6000", (12, 0), 188),
}
# That of this process.
GENERATION = os.environ.get("CONTRACTS_GPU", "SM90")
GPU = GPUS[GENERATION]


def fake_gpu(gpu: Gpu) -> None:
    """Make torch, Triton and vLLM believe in it; before vLLM's other modules import."""
    import torch
    import vllm.platforms
    from triton.backends import backends

    properties = SimpleNamespace(
        name=gpu.name,
        major=gpu.capability[0],
        minor=gpu.capability[1],
        multi_processor_count=gpu.sm_count,
        total_memory=MEMORY,
        shared_memory_per_block_optin=227 * 1024,
        shared_memory_per_multiprocessor=228 * 1024,
        L2_cache_size=50 * 2**20,
    )
    if gpu.capability[0] == 10:  # a stock server has the kernels that are not compiled here
        os.environ["VLLM_HAS_FLASHINFER_CUBIN"] = "1"
    cuda: Any = torch.cuda
    cuda.get_device_properties = lambda *_: properties
    cuda.get_device_capability = lambda *_: gpu.capability
    cuda.get_device_name = lambda *_: gpu.name
    cuda.current_device = lambda: 0
    cuda.is_current_stream_capturing = lambda: False
    backends["nvidia"].driver.is_active = staticmethod(lambda: True)
    vllm.platforms._current_platform = _platform(gpu)


def _platform(gpu: Gpu) -> Any:
    from vllm.platforms.cuda import CudaPlatformBase
    from vllm.platforms.interface import DeviceCapability

    class Faked(CudaPlatformBase):  # type: ignore[misc]
        @classmethod
        def get_device_capability(cls, device_id: int = 0) -> Any:
            return DeviceCapability(*gpu.capability)

        @classmethod
        def get_device_name(cls, device_id: int = 0) -> str:
            return gpu.name

        @classmethod
        def get_device_total_memory(cls, device_id: int = 0) -> int:
            return MEMORY

        @classmethod
        def num_compute_units(cls, device_id: int = 0) -> int:
            return gpu.sm_count

        @classmethod
        def is_fully_connected(cls, *args: object) -> bool:
            return False

        @classmethod
        def is_pin_memory_available(cls) -> bool:
            return False  # a driver pins it

        @classmethod
        def log_warnings(cls) -> None:
            """There is no driver to warn about."""

    return Faked()
