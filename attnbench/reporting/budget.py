"""The share of the time between two tokens taken by the calls of all layers of a model."""

from collections.abc import Sequence

from attnbench.reporting.text_table import Column
from attnbench.specs.budget import Budget
from attnbench.units import percent_column, seconds_column


def budget_column(budget: Budget, times: Sequence[float | None]) -> Column:
    """The share of each call's time, in percent."""
    shares = [None if time is None else time * budget.layers / budget.seconds for time in times]
    unit, texts = percent_column(shares)
    return Column(f"of ITL\n{unit}", texts)


def budget_note(budget: Budget) -> str:
    """The meaning of the column."""
    unit, (text,) = seconds_column([budget.seconds])
    return (
        f"of ITL: {budget.layers} layers ({budget.model}), one call each, over an inter-token "
        f"latency of {text} {unit}"
    )
