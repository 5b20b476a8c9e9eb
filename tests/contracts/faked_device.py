"""vLLM's platform as it would be on a Hopper GPU, where there is none: a device that only tells."""

from typing import Any


def fake_hopper() -> None:
    """Make vLLM believe in an SM90 with 132 SMs and 141 GB; before its other modules import."""
    import vllm.platforms
    from vllm.platforms.cuda import CudaPlatformBase
    from vllm.platforms.interface import DeviceCapability

    class Hopper(CudaPlatformBase):  # type: ignore[misc]
        @classmethod
        def get_device_capability(cls, device_id: int = 0) -> Any:
            return DeviceCapability(9, 0)

        @classmethod
        def get_device_name(cls, device_id: int = 0) -> str:
            return "NVIDIA H200"

        @classmethod
        def get_device_total_memory(cls, device_id: int = 0) -> int:
            return 141 * 10**9

        @classmethod
        def num_compute_units(cls, device_id: int = 0) -> int:
            return 132

        @classmethod
        def is_fully_connected(cls, *args: object) -> bool:
            return False

        @classmethod
        def is_pin_memory_available(cls) -> bool:
            return False  # a driver pins it

        @classmethod
        def log_warnings(cls) -> None:
            """There is no driver to warn about."""

    vllm.platforms._current_platform = Hopper()
