"""Only plain values leave the worker: facts of a backend are checked before they are sent."""

import math
from collections.abc import Mapping

from attnbench.specs.case import Value

_LARGEST = 2**63  # bytes, as databases store them
REASON = 1000  # characters of an error's text


def plain_values(values: Mapping[str, object]) -> dict[str, Value]:
    """`resolved` as it is stored; TypeError or ValueError for a value that JSON does not have."""
    return {_text(name): _plain(name, value) for name, value in values.items()}


def _plain(name: object, value: object) -> Value:
    for kind in (bool, str, int, float):
        if isinstance(value, kind):
            break
    else:
        raise TypeError(
            f"resolved[{name!r}] is of type {type(value).__name__}; expected str, int, float or "
            "bool"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"resolved[{name!r}] is {value}; expected a finite number")
    return _text(value) if isinstance(value, str) else kind(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"resolved has the name {value!r}; expected a str")
    text = str.__str__(value)
    if "\0" in text or text != text.encode(errors="ignore").decode():
        raise ValueError(f"resolved has the text {text[:50]!a}, which databases cannot store")
    return text


def byte_count(value: object) -> int:
    """`touched_bytes` as it is stored; TypeError or ValueError for anything but a count."""
    if not isinstance(value, int | float):
        raise TypeError(f"touched_bytes is of type {type(value).__name__}; expected an int")
    if not 0 <= value < _LARGEST:
        raise ValueError(f"touched_bytes is {value:g}; expected bytes from 0 to 2**63 - 1")
    return int(value)


def error_line(error: BaseException) -> str:
    """The first line of an error's text, of bounded length; its type if the text is empty."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a backend's exception may fail at anything
        text = ""
    line = text[: 10 * REASON].lstrip("\n").partition("\n")[0]
    return bounded(line) or type(error).__name__


def bounded(text: str) -> str:
    """The text, cut if long."""
    return text if len(text) <= REASON else f"{text[:REASON]}... (cut)"
