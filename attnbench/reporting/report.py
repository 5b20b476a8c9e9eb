"""What `report` shows of the runs that were asked for."""

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Literal

from attnbench.db.rows import Run
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Measurement
from attnbench.reporting.export import write_csv, write_json
from attnbench.reporting.grid import WIDTH, Style
from attnbench.reporting.pivot import pivot_table
from attnbench.reporting.section import SentinelFacts
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
    host: bool = False,
    width: int = WIDTH,
) -> str:
    """The runs that `refs` name one after the other, the latest run where there are none.

    A pivot has a column for each implementation and shows one `metric`, latency by default;
    `host` adds what a call costs the host to a table without.
    """
    _check(form, pivot, metric, host)
    selections = [select(store, ref) for ref in refs or ["latest"]]
    if form in _RECORDS:
        return _records(store, selections, form)
    style: Style = "markdown" if form == "markdown" else "table"
    if pivot:
        texts = [
            pivot_table(each.measurements, each.runs, metric or "latency", style, width)
            for each in selections
        ]
    else:
        texts = [_results(store, each, style, width, host) for each in selections]
    return "\n\n".join(texts)


def _check(form: str, pivot: bool, metric: str | None, host: bool) -> None:
    """UsageError for options that mean nothing together."""
    if metric and not pivot:
        raise UsageError(
            f"--metric {metric} chooses what --pivot shows, and a table without it shows all; "
            f"add the pivot, e.g. --pivot backend --metric {metric}"
        )
    if host and pivot:
        raise UsageError(
            "--host adds columns to the table of all metrics, and --pivot shows one metric; leave "
            "one of them out, e.g. attnbench report --host"
        )
    if pivot and form in _RECORDS:
        raise UsageError(
            f"--format {form} holds every round and all metrics, so that it takes no --pivot; "
            "leave it out, or choose another format, e.g. --format markdown"
        )


def _results(store: Store, selection: Selection, style: Style, width: int, host: bool) -> str:
    runs = selection.runs
    sentinels = _sentinels(store, runs)
    return results_table(selection.measurements, runs, style, width, sentinels=sentinels, host=host)


def _records(store: Store, selections: Sequence[Selection], form: str) -> str:
    """Each round once, also where two refs name it."""
    measurements: dict[str, Measurement] = {}
    runs: dict[int, Run] = {}
    for selection in selections:
        measurements |= {each.uuid: each for each in selection.measurements}
        runs |= selection.runs
    stream = StringIO()
    _RECORDS[form](measurements.values(), runs, stream, _sentinels(store, runs))
    return stream.getvalue().rstrip("\n")


def _sentinels(store: Store, runs: Iterable[int]) -> SentinelFacts:
    return {number: store.sentinels(number) for number in runs}
