"""The text of `report`."""

from dataclasses import dataclass
from io import StringIO
from typing import Literal

from attnbench.errors import UsageError
from attnbench.reporting.best import best_tables
from attnbench.reporting.export import write_csv, write_json
from attnbench.reporting.pivot import pivot_tables
from attnbench.reporting.plain_markdown import plain_markdown
from attnbench.reporting.tables import NO_EXTRA, Extra, results_tables
from attnbench.reporting.text_table import WIDTH, Style
from attnbench.results.report import Report

Format = Literal["table", "markdown", "csv", "json"]

_RECORDS = {"csv": write_csv, "json": write_json}


@dataclass(frozen=True, slots=True)
class View:
    """How results are shown; UsageError for options that exclude each other."""

    form: Format = "table"
    pivot: str | None = None  # the field with a column per value
    metric: str | None = None  # of a pivot; latency by default
    best: bool = False  # the best of each workload instead of all rows
    extra: Extra = NO_EXTRA
    width: int = WIDTH
    is_coloured: bool = False  # with a terminal's colours

    def __post_init__(self) -> None:
        if self.metric and not self.pivot:
            raise UsageError(
                f"--metric {self.metric} chooses what --pivot shows, and a table without it shows "
                f"all; add the pivot, e.g. --pivot backend --metric {self.metric}"
            )
        if self.extra.host and self.pivot:
            raise UsageError(
                "--host adds columns to the table of all metrics, and --pivot shows one metric; "
                "leave one of them out, e.g. attnbench report --host"
            )
        if self.pivot and self.form in _RECORDS:
            raise UsageError(
                f"--format {self.form} has every round and all metrics, so --pivot does not apply; "
                "leave it out, or choose another format, e.g. --format markdown"
            )
        extra = self.extra.host or self.extra.ids
        if self.best and (self.pivot or extra or self.form in _RECORDS):
            raise UsageError(
                "--best shows one row per workload with its own columns, and takes only --run, "
                "--where and --format markdown, e.g. attnbench report --best"
            )

    @property
    def style(self) -> Style:
        """The table style of this format."""
        if self.form == "markdown":
            return "markdown"
        return "colour" if self.is_coloured else "table"


def report_text(report: Report, view: View) -> str:
    """The report's selections one after the other."""
    if view.form in _RECORDS:
        return _records(report, view.form)
    text = _tables(report, view)
    return plain_markdown(text) if view.form == "markdown" else text


def _tables(report: Report, view: View) -> str:
    listed = [report.cohorts_of(each) for each in report.selections]
    if view.pivot:
        metric = view.metric or "latency"
        return pivot_tables(listed, view.pivot, metric, view.style, view.width)
    if view.best:
        texts = [best_tables(each, view.style, view.width) for each in listed]
    else:
        texts = [results_tables(each, view.style, view.width, view.extra) for each in listed]
    return "\n\n".join(texts)


def _records(report: Report, form: str) -> str:
    stream = StringIO()
    _RECORDS[form](report.measurements, report.runs, stream, report.sentinels)
    return stream.getvalue().rstrip("\n")
