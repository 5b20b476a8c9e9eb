"""A GPU's context is made by the driver, of the device that torch will use."""

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from attnbench.running.cuda_context import make_context

FIRST = 100  # the driver's number of the first device


def driver(retained: list[int], failing: str = "") -> SimpleNamespace:
    """One that adds to a list the devices whose contexts it was asked for."""

    def get(number: Any, index: int) -> int:
        number._obj.value = FIRST + index
        return int(failing == "cuDeviceGet")

    def retain(_: Any, number: ctypes.c_int) -> int:
        retained.append(number.value)
        return 0

    return SimpleNamespace(
        cuInit=lambda _: int(failing == "cuInit"),
        cuDeviceGet=get,
        cuDevicePrimaryCtxRetain=retain,
    )


def retained(device: str, failing: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the devices whose contexts are made for `device`."""
    found: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: driver(found, failing))
    make_context(device)
    return found


@pytest.mark.parametrize(
    ("device", "numbers"),
    [("cuda:2", [FIRST + 2]), ("cuda", [FIRST]), ("auto", [FIRST]), ("cpu", [])],
)
def test_the_context_is_of_the_named_device(
    device: str, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retained(device, "", monkeypatch) == numbers


@pytest.mark.parametrize("failing", ["cuInit", "cuDeviceGet"])
def test_no_context_is_made_where_the_driver_fails(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retained("cuda:9", failing, monkeypatch) == []


def test_a_host_without_a_driver_has_no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    make_context("auto")
