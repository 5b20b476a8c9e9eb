"""Columns that several tables share."""

from collections.abc import Collection, Mapping, Sequence

from attnbench.analysis.fields import Fields, requested
from attnbench.analysis.series import Series
from attnbench.reporting.text_table import Column, names, stacked
from attnbench.specs.case import Value
from attnbench.units import MISSING


def field_columns(
    fields: Fields, listed: Sequence[Series], among: Collection[str] | None = None
) -> list[Column]:
    """A column per varying field, with the resolved value if known."""
    ran = [requested(series.case) | series.resolved for series in listed]
    return [_column(n, ran) for n in fields.varying if among is None or n in among]


def _column(name: str, ran: Sequence[Mapping[str, Value]]) -> Column:
    values = [each.get(name) for each in ran]
    is_number = all(isinstance(value, int | float | None) for value in values)
    texts = [MISSING if value is None else str(value) for value in values]
    return (Column if is_number else names)(stacked(name), texts)
