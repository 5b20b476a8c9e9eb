"""A GPU's context, which the driver makes in 0.6 s: it can do so while torch is imported."""

import ctypes
from typing import Any


def make_context(device: str) -> None:
    """Make the context that torch will use on `cuda:N`, or on the first GPU for other names.

    Does nothing where that cannot be: torch then says why, or measures on the CPU.
    """
    if device == "cpu":
        return
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    retain_primary(driver, int(device.partition(":")[2] or 0))


def retain_primary(driver: Any, index: int) -> None:
    """Make the primary context of a device, which lasts as long as this process."""
    number, context = ctypes.c_int(), ctypes.c_void_p()
    if driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(number), index) == 0:
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), number)
