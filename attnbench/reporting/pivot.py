"""One metric with a row for each workload and a column for each implementation."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from attnbench.analysis.roofline import ABOVE_ROOFLINE, is_above_roofline, roofline_fraction
from attnbench.analysis.series import Series
from attnbench.db.rows import Run
from attnbench.records import Measurement
from attnbench.reporting.fields import requested
from attnbench.reporting.grid import WIDTH, Column, Style, grid, items
from attnbench.reporting.notes import shared_by_all, warnings
from attnbench.reporting.section import Section, sections
from attnbench.reporting.tables import spec_column
from attnbench.specs.case import WORKLOAD_FIELDS
from attnbench.units import (
    MISSING,
    byte_rate_column,
    flop_rate_column,
    percent_column,
    seconds_column,
)

_Formatter = Callable[[Sequence[float | None]], tuple[str, list[str]]]

# By metric: its name, the value of a series, and its text.
METRICS: Mapping[str, tuple[str, Callable[[Series, Section], float | None], _Formatter]] = {
    "latency": ("latency", lambda series, _: series.time, seconds_column),
    "tflops": ("useful FLOP rate", lambda series, _: series.flops_per_second, flop_rate_column),
    "gbps": ("useful byte rate", lambda series, _: series.bytes_per_second, byte_rate_column),
    "roofline": (
        "part of the roofline",
        lambda series, section: roofline_fraction(series, section.machine),
        percent_column,
    ),
}
_MARKS = {
    "*": "*: has a note in the table without --pivot",
    "!": f"!: {ABOVE_ROOFLINE}, so it is wrong",
}


def pivot_table(
    measurements: Iterable[Measurement],
    runs: Mapping[int, Run],
    metric: str,
    style: Style = "table",
    width: int = WIDTH,
) -> str:
    """A table for each family, method and machine model; `metric` is a key of METRICS."""
    listed = sections(measurements, runs)
    return "\n\n".join(_section_text(each, metric, style, width) for each in listed)


def _section_text(section: Section, metric: str, style: Style, width: int) -> str:
    name, value, column = METRICS[metric]
    values = [value(each, section) for each in section.timed]
    blocks = [section.heading(style, width)]
    if any(each is not None for each in values):
        unit, texts = column(values)
        cells, notes = _marked(texts, section)
        blocks += [f"{name}, {unit}", grid(_columns(section, cells), style, width)]
        blocks.append(items(notes, style, width))
    elif values:
        blocks.append(f"{name}: not known of any of these cases")
    blocks.append(items(section.failures(), style, width))
    return "\n\n".join(filter(None, blocks))


def _marked(texts: Sequence[str], section: Section) -> tuple[list[str], list[str]]:
    """The cells, those in doubt with a star and wrong ones with a !, and what stands below."""
    rows = list(zip(section.timed, section.roofline_fractions, strict=True))
    doubts = [warnings(each, section, fraction) for each, fraction in rows]
    shared = shared_by_all(doubts)
    stars = ["*" if set(found) - set(shared) else "" for found in doubts]
    wrong = ["!" if is_above_roofline(*row) else "" for row in rows]
    notes = [text for mark, text in _MARKS.items() if mark in (*stars, *wrong)]
    cells = list(map("{}{}{}".format, wrong, texts, stars))
    return cells, [*notes, *(f"all: {text}" for text in shared)]


def _columns(section: Section, cells: Sequence[str]) -> list[Column]:
    fields = section.fields
    rows: dict[tuple[object, ...], dict[str, str]] = {}
    firsts: list[Series] = []
    for series, cell in zip(section.timed, cells, strict=True):
        asked = requested(series.case)
        work = [asked.get(name) for name in fields.varying if name in WORKLOAD_FIELDS]
        key = (str(series.case.batch), *work)
        if key not in rows:
            firsts.append(series)
        rows.setdefault(key, {})[_implementation(series, section)] = cell
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return [
        spec_column(firsts),
        *fields.columns(firsts, WORKLOAD_FIELDS),
        *(Column(name, [row.get(name, MISSING) for row in rows.values()]) for name in names),
    ]


def _implementation(series: Series, section: Section) -> str:
    """The header of a series' column: its backend, below it what else it was asked to use."""
    asked = requested(series.case)
    choices = [n for n in section.fields.varying if n in asked and n not in WORKLOAD_FIELDS]
    others = [f"{name.replace('_', ' ')} {asked[name]}" for name in choices if name != "backend"]
    return "\n".join([series.case.backend, *others])
