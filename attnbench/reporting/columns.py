"""Columns that several tables share."""

from collections.abc import Collection, Mapping, Sequence

from attnbench.analysis.fields import Fields, requested
from attnbench.analysis.pairing import Pair
from attnbench.analysis.series import Series
from attnbench.reporting.text_table import Column, names, stacked
from attnbench.specs.case import Value
from attnbench.units import MISSING, seconds_column


def field_columns(
    fields: Fields, listed: Sequence[Series], among: Collection[str] | None = None
) -> list[Column]:
    """A column per varying field, with the resolved value if known."""
    ran = [requested(series.case) | series.resolved for series in listed]
    return [_column(n, ran) for n in fields.varying if among is None or n in among]


def time_columns(pairs: Sequence[Pair]) -> list[Column]:
    """The times of both sides, in one unit."""
    sides = [pair.base for pair in pairs], [pair.head for pair in pairs]
    unit, texts = seconds_column([each.time for side in sides for each in side])
    return [
        Column(f"base\n{unit}", texts[: len(pairs)]),
        Column(f"head\n{unit}", texts[len(pairs) :]),
    ]


def _column(name: str, ran: Sequence[Mapping[str, Value]]) -> Column:
    values = [each.get(name) for each in ran]
    is_number = all(isinstance(value, int | float | None) for value in values)
    texts = [MISSING if value is None else str(value) for value in values]
    return (Column if is_number else names)(stacked(name), texts)
