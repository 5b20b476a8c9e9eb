"""Two GPU models side by side, as parts of a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.analysis.fields import Fields
from attnbench.reporting.gpu_diff import (
    by_method,
    cohort_lines,
    means,
    not_compared,
    ratio_columns,
)
from attnbench.reporting.html.figures import Json, Plot, PlotChoice, numbers, rows_of
from attnbench.reporting.html.fingerprint import fingerprint
from attnbench.reporting.html.page import PageData, render, require_extra
from attnbench.reporting.html.table import HtmlTable, batch_orders, led_by
from attnbench.results.cohort import SentinelFacts
from attnbench.results.gpu_diff import GpuDiff, GpuRow

_FIRST = ("spec", "time\nratio", "95 %\ninterval", "foreseen")
_MOST_ROWS = 60  # drawn: those that fall furthest behind the prediction


@dataclass(frozen=True, slots=True)
class GpuPart:
    """The cases of one family and method on two GPUs."""

    key: str  # unique in the page
    title: str
    shared: str
    answer: Sequence[str]
    plot: Plot
    table: HtmlTable
    notes: Sequence[str]


def gpu_page(diff: GpuDiff, sentinels: SentinelFacts) -> str:
    """The page of two GPUs; UsageError without the extra html."""
    require_extra()
    base, head = diff.machines
    parts = gpu_parts(diff, "pair")
    runs = {**diff.base.runs, **diff.head.runs}
    values = {
        "title": f"{head.name} against {base.name}",
        "parts": parts,
        "fingerprints": [fingerprint(run, sentinels[number]) for number, run in runs.items()],
    }
    data = PageData([part.plot for part in parts], [part.table for part in parts])
    return render("gpus.html", data, values)


def gpu_parts(diff: GpuDiff, key: str) -> list[GpuPart]:
    """A part per family and method; the last one names the cases that were not compared."""
    groups = by_method(diff)
    return [
        _part(rows, diff, f"{key}-{at}", not_compared(diff) if at == len(groups) - 1 else [])
        for at, rows in enumerate(groups)
    ]


def _part(rows: Sequence[GpuRow], diff: GpuDiff, key: str, notes: Sequence[str]) -> GpuPart:
    base, head = diff.machines
    _, shared = lines = cohort_lines(rows, diff)
    orders = batch_orders([row.pair.head for row in rows])
    caption = "Cases, furthest behind the prediction first"
    return GpuPart(
        key,
        f"{head.label} (head) against {base.label} (base): {lines[0]}",
        shared,
        means(rows),
        _plot(rows, f"{key}-ratios"),
        HtmlTable.of(f"{key}-table", caption, led_by(_FIRST, ratio_columns(rows, diff)), orders),
        notes,
    )


def _plot(rows: Sequence[GpuRow], key: str) -> Plot:
    caption = "Time on the head over time on the base: below 1 the head is faster. Bars are 95 %"
    caption += " intervals; the foreseen ratio is that of the least times that the GPUs allow."
    drawn = rows[:_MOST_ROWS]
    if len(drawn) < len(rows):
        caption += f" The first {len(drawn)} of {len(rows)} cases."
    return Plot(key, "Measured and foreseen ratio", caption, [PlotChoice("", _figure(drawn))])


def _figure(rows: Sequence[GpuRow]) -> Json:
    describe = Fields.of([row.pair.base.case for row in rows]).describe
    found = [row.comparison for row in rows]
    known = [(at, row.foreseen) for at, row in enumerate(rows) if row.foreseen is not None]
    measured = {
        "name": "measured",
        "slot": 0,
        "x": numbers(each.ratio for each in found),
        "y": list(range(len(rows))),
        "low": numbers(each.low for each in found),
        "high": numbers(each.high for each in found),
        "across": True,
    }
    foreseen = {
        "name": "foreseen",
        "slot": 1,
        "x": numbers(ratio for _, ratio in known),
        "y": [at for at, _ in known],
        "across": True,
    }
    names = [describe(row.pair.base.case) for row in rows]
    series = [measured, *([foreseen] if known else [])]
    return {"series": series, "x": {"label": "time ratio", "log": True}} | rows_of(names)
