"""A study's part of a page: the very conclusion that the terminal prints, with maps and plots."""

from attnbench.db.store import Store
from attnbench.reporting.html.figures import (
    Json,
    Plot,
    PlotChoice,
    Slots,
    named_ticks,
    numbers,
    rows_of,
)
from attnbench.reporting.html.studies import StudyPart
from attnbench.reporting.html.table import HtmlTable
from attnbench.results.report import Report
from attnbench.studies.charts import Heat, Lines, Rows, is_open, is_wide
from attnbench.studies.conclusion import Conclusion, conclusion_of
from attnbench.studies.heat import heat_map

_CAPTION = "Bars are 95 % intervals."


def study_parts(store: Store, report: Report) -> list[StudyPart]:
    """The studies among a report's runs, each concluded from its stored results."""
    return [
        _part(conclusion_of(store, run), run) for run in report.runs if store.plan(run).get("study")
    ]


def _part(found: Conclusion, run: int) -> StudyPart:
    key = f"study{run}"
    drawn = [chart for chart in found.charts if not isinstance(chart, Heat)]
    return StudyPart(
        key,
        run,
        name=found.study,
        question=found.question,
        where=[found.where, *found.asked],
        answer=found.answer,
        doubts=found.doubts,
        cells=found.cells,
        maps=[heat_map(chart, found.slots) for chart in found.charts if isinstance(chart, Heat)],
        plots=[_plot(f"{key}-plot{at}", chart, found.slots) for at, chart in enumerate(drawn)],
        tables=[
            HtmlTable.of(f"{key}-table{at}", table.heading, table.text_columns())
            for at, table in enumerate(found.tables)
            if any(table.columns.values())
        ],
    )


def _plot(key: str, chart: Lines | Rows, slots: Slots) -> Plot:
    if isinstance(chart, Rows):
        return Plot(key, chart.title, _CAPTION, [PlotChoice("", rows_figure(chart, slots))])
    arrows = any(is_open(spot) for listed in chart.series.values() for spot in listed)
    caption = f"{_CAPTION} An arrow: beyond what was measured." if arrows else _CAPTION
    return Plot(key, chart.title, caption, [PlotChoice("", lines_figure(chart))])


def lines_figure(chart: Lines) -> Json:
    """The figure of series with intervals; a series of one name has the chart's."""
    spots = [spot for listed in chart.series.values() for spot in listed]
    xs = [spot[0] for spot in spots]
    return {
        "series": [
            {
                "name": name or chart.title,
                "slot": slot,
                "x": [spot[0] for spot in listed],
                "y": numbers(spot[1] for spot in listed),
                "low": numbers(spot[2] for spot in listed),
                "high": numbers(spot[3] for spot in listed),
                "line": True,
            }
            for slot, (name, listed) in enumerate(chart.series.items())
        ],
        "x": {"label": chart.x_label, "log": min(xs, default=0) > 0, "ticks": named_ticks(xs)},
        "y": {"label": chart.y_label, "log": chart.log_y},
    }


def rows_figure(chart: Rows, slots: Slots) -> Json:
    """The figure of numbers in named rows; series in `slots` have those colours."""
    series = [
        {
            "name": name,
            "slot": slots.get(name, slot),
            "x": numbers(spot[1] for spot in spots),
            "y": [spot[0] for spot in spots],
            "low": numbers(spot[2] for spot in spots),
            "high": numbers(spot[3] for spot in spots),
            "across": True,
        }
        for slot, (name, spots) in enumerate(chart.series.items())
    ]
    return {"series": series, "x": {"label": chart.x_label, "log": is_wide(chart)}} | rows_of(
        chart.rows
    )
