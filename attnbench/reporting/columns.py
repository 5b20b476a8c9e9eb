"""Columns that several tables share."""

from collections.abc import Collection, Sequence

from attnbench.analysis.fields import Fields, requested
from attnbench.analysis.series import Series
from attnbench.reporting.text_table import Column, stacked, words
from attnbench.units import MISSING


def field_columns(
    fields: Fields, listed: Sequence[Series], among: Collection[str] | None = None
) -> list[Column]:
    """A column for each varying field, with the value that ran where it is known."""
    return [_column(n, listed) for n in fields.varying if among is None or n in among]


def _column(name: str, listed: Sequence[Series]) -> Column:
    values = [series.resolved.get(name, requested(series.case).get(name)) for series in listed]
    is_number = all(isinstance(value, int | float | None) for value in values)
    texts = [MISSING if value is None else str(value) for value in values]
    return (Column if is_number else words)(stacked(name), texts)
