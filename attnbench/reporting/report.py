"""What `report` shows of the runs that were asked for."""

from collections.abc import Sequence
from io import StringIO
from typing import Literal

from attnbench.db.rows import Run
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Measurement
from attnbench.reporting.export import write_csv, write_json
from attnbench.reporting.grid import WIDTH, Style
from attnbench.reporting.pivot import pivot_table
from attnbench.reporting.selection import Selection, select
from attnbench.reporting.tables import results_table

Format = Literal["table", "markdown", "csv", "json"]

_RECORDS = {"csv": write_csv, "json": write_json}


def report(
    store: Store,
    refs: Sequence[str],
    form: Format = "table",
    *,
    pivot: bool = False,
    metric: str | None = None,
    width: int = WIDTH,
) -> str:
    """The runs that `refs` name one after the other, the latest run where there are none.

    A pivot has a column for each implementation and shows one `metric`, latency by default.
    """
    if metric and not pivot:
        raise UsageError(
            f"--metric {metric} chooses what --pivot shows, and a table without it shows all; "
            f"add the pivot, e.g. --pivot backend --metric {metric}"
        )
    selections = [select(store, ref) for ref in refs or ["latest"]]
    if form in _RECORDS:
        if pivot:
            raise UsageError(
                f"--format {form} holds every round and all metrics, so that it takes no --pivot; "
                "leave it out, or choose another format, e.g. --format markdown"
            )
        return _records(selections, form)
    style: Style = "markdown" if form == "markdown" else "table"
    texts = [_tables(each, style, pivot, metric or "latency", width) for each in selections]
    return "\n\n".join(texts)


def _records(selections: Sequence[Selection], form: str) -> str:
    """Each round once, also where two refs name it."""
    measurements: dict[str, Measurement] = {}
    runs: dict[int, Run] = {}
    for selection in selections:
        measurements |= {each.uuid: each for each in selection.measurements}
        runs |= selection.runs
    stream = StringIO()
    _RECORDS[form](measurements.values(), runs, stream)
    return stream.getvalue().rstrip("\n")


def _tables(selection: Selection, style: Style, pivot: bool, metric: str, width: int) -> str:
    if pivot:
        return pivot_table(selection.measurements, selection.runs, metric, style, width)
    return results_table(selection.measurements, selection.runs, style, width)
