"""Arguments of the Python functions: read as the originals accept them, or one clear error."""

from collections.abc import Mapping
from typing import TypeVar

from attnbench.errors import UsageError
from attnbench.running.device import DEVICE_NAME

T = TypeVar("T")


def known(argument: str, given: str, names: Mapping[str, T]) -> T:
    """The value of a name in `names`; UsageError for an unknown one."""
    if given not in names:
        raise UsageError(
            f"{argument} '{given}' is unknown; accepted are {', '.join(names)}, "
            f"e.g. '{next(iter(names))}'"
        )
    return names[given]


def require_counts(least: int, **given: int | None) -> None:
    """Raise UsageError for a number below `least`; None is left to the device."""
    for argument, value in given.items():
        if value is not None and value < least:
            raise UsageError(
                f"{argument}={value}: expected a whole number from {least}, e.g. {argument}=20"
            )


def require_device(name: str) -> str:
    """`name`, if it could name a device."""
    if DEVICE_NAME.fullmatch(name):
        return name
    raise UsageError(
        f"device '{name}' is unknown; accepted are auto, cpu, cuda and cuda:N, e.g. 'cuda:0'"
    )
