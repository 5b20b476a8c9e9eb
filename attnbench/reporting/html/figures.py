"""Plots as data for the page's own scripts (scripts/plot.js has the format).

A series' `slot` is the number of its colour, symbol and dash; with a `kind` it has that of a
verdict, and as a `roof` it is drawn as a limit. All texts stay texts in a page, never markup.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from attnbench.analysis.crossover import Crossover
from attnbench.analysis.fields import batch_text
from attnbench.analysis.series import Series
from attnbench.reporting.html.packed import rounded
from attnbench.reporting.html.sweeps import size_text
from attnbench.units import percent, seconds_column, unit_size

Json = dict[str, Any]
Slots = Mapping[str, int]
_ROW = 24  # pixels of a row of a plot
_FRAME = 70  # pixels above and below the rows


class Ranged(Protocol):
    """A time with the range of its rounds, seconds per call."""

    @property
    def time(self) -> float | None: ...
    @property
    def limits(self) -> tuple[float, float] | None: ...


@dataclass(frozen=True, slots=True)
class PlotChoice:
    """One view of a plot with several."""

    label: str
    figure: Json
    group: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with one or more views."""

    key: str  # unique in the page
    title: str
    caption: str
    choices: Sequence[PlotChoice]  # one or more

    @property
    def groups(self) -> dict[str, list[tuple[int, str]]]:
        """The number and label of each choice, by group."""
        found: dict[str, list[tuple[int, str]]] = {}
        for at, choice in enumerate(self.choices):
            found.setdefault(choice.group, []).append((at, choice.label))
        return found


def numbers(values: Iterable[float | None]) -> list[float | None]:
    """Numbers with four digits."""
    return [rounded(value) for value in values]


def in_unit(values: Sequence[float]) -> tuple[str, float]:
    """The unit of time for these seconds, and its size."""
    unit, _ = seconds_column(values)
    return unit, unit_size(unit)


def times(name: str, listed: Sequence[Ranged], size: float) -> dict[str, list[float | None]]:
    """The times, as `name`, and as `low` and `high` the ends of their rounds' range."""
    known = [(each.time or 0.0, each.limits) for each in listed]
    ends = [limits or (time, time) for time, limits in known]
    return {
        name: numbers(time / size for time, _ in known),
        "low": numbers(low / size for low, _ in ends),
        "high": numbers(high / size for _, high in ends),
    }


def named_ticks(values: Iterable[float]) -> list[tuple[float, str]]:
    """A tick for each value, with sizes as specs write them."""
    return [(value, _tick(value)) for value in sorted(set(values))]


def axis_along(label: str, values: Sequence[float]) -> Json:
    """An axis with a tick for each value; logarithmic, unless a value is zero."""
    return {"label": label, "log": min(values) > 0, "ticks": named_ticks(values)}


def rows_of(names: Sequence[str]) -> Json:
    """The part of a figure with a row per name, the first at the top."""
    return {"y": {"rows": list(names)}, "height": _FRAME + _ROW * len(names)}


def line(name: str, slot: int, points: Sequence[tuple[float, Series]], size: float) -> Json:
    """Times of series over their values on an axis, with the range of their rounds."""
    return {
        "name": name,
        "slot": slot,
        "x": [place for place, _ in points],
        **times("y", [series for _, series in points], size),
        "line": True,
        "notes": [note_on(series) for _, series in points],
    }


def crossover_mark(found: Crossover, name: str, slot: int) -> Json:
    """A crossover as a figure marks it: `name` is the faster one from there on."""
    return {"name": name, "slot": slot, "x": found.estimate, "low": found.low, "high": found.high}


def note_on(series: Series) -> str:
    """The batch and the spread of a series."""
    spread = f", +-{percent(series.spread)}" if series.spread is not None else ""
    return f"{batch_text(series.case)}{spread}"


def _tick(value: float) -> str:
    return size_text(int(value)) if float(value).is_integer() else f"{value:g}"
