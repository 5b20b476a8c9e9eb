"""Columns of a page's data, as short as JSON allows."""

from collections.abc import Sequence
from typing import Any

Packable = str | float | None


def packed(values: Sequence[Packable]) -> Any:
    """One value for all rows, codes into a few values, or all of them; page scripts unpack it."""
    different = list(dict.fromkeys(values))
    if len(different) == 1 and len(values) > 1:
        return {"all": different[0], "count": len(values)}
    if len(different) * 2 > len(values) or not any(isinstance(each, str) for each in different):
        return list(values)
    codes = {value: code for code, value in enumerate(different)}
    return {"values": different, "codes": [codes[value] for value in values]}


def rounded(value: float | None) -> float | None:
    """The value in four digits, enough for a plot; a whole number without a point."""
    if value is None:
        return None
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short


def unpacked(column: Any) -> list[Packable]:
    """The inverse of `packed`."""
    if isinstance(column, list):
        return column
    if "codes" in column:
        return [column["values"][code] for code in column["codes"]]
    return [column["all"]] * column["count"]
