"""What `report` shows of the runs that were asked for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from io import StringIO
from typing import Literal

from attnbench.db.rows import Run
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Measurement
from attnbench.reporting.best import best_tables
from attnbench.reporting.export import write_csv, write_json
from attnbench.reporting.grid import WIDTH, Style
from attnbench.reporting.noise import NoiseLookup, noise_for
from attnbench.reporting.pivot import pivot_tables
from attnbench.reporting.section import SentinelFacts
from attnbench.reporting.selection import Selection, select
from attnbench.reporting.tables import results_table
from attnbench.reporting.where import Condition

Format = Literal["table", "markdown", "csv", "json"]

_RECORDS = {"csv": write_csv, "json": write_json}


@dataclass(frozen=True, slots=True)
class View:
    """How results are shown. UsageError for what means nothing together."""

    form: Format = "table"
    pivot: str | None = None  # the field that has a column for each value
    metric: str | None = None  # that a pivot shows, latency by default
    best: bool = False  # the best of each workload instead of all rows
    host: bool = False  # also what a call costs the host
    ids: bool = False  # also the key of each case
    width: int = WIDTH

    def __post_init__(self) -> None:
        if self.metric and not self.pivot:
            raise UsageError(
                f"--metric {self.metric} chooses what --pivot shows, and a table without it shows "
                f"all; add the pivot, e.g. --pivot backend --metric {self.metric}"
            )
        if self.host and self.pivot:
            raise UsageError(
                "--host adds columns to the table of all metrics, and --pivot shows one metric; "
                "leave one of them out, e.g. attnbench report --host"
            )
        if self.pivot and self.form in _RECORDS:
            raise UsageError(
                f"--format {self.form} holds every round and all metrics, so that it takes no "
                "--pivot; leave it out, or choose another format, e.g. --format markdown"
            )
        if self.best and (self.pivot or self.host or self.ids or self.form in _RECORDS):
            raise UsageError(
                "--best shows one row a workload, of its own columns: it goes with --run, --where "
                "and --format markdown alone, e.g. attnbench report --best"
            )

    @property
    def style(self) -> Style:
        """That of a table."""
        return "markdown" if self.form == "markdown" else "table"


def report(
    store: Store,
    refs: Sequence[str] = (),
    where: Sequence[Condition] = (),
    view: View | None = None,
) -> str:
    """The runs that `refs` name one after the other, the latest run where there are none.

    UsageError where no measurement of theirs fulfils all conditions.
    """
    view = view or View()
    selections = [select(store, ref, where=where) for ref in refs or ["latest"]]
    selections = [each for each in selections if each.measurements]
    if not selections:
        raise UsageError(
            f"--where {' '.join(map(str, where))}: no measurement of {', '.join(refs) or 'latest'} "
            "fulfils that; name other runs, e.g. --run main, or ask for less"
        )
    if view.form in _RECORDS:
        return _records(store, selections, view.form)
    if view.pivot:
        metric = view.metric or "latency"
        return pivot_tables(selections, view.pivot, metric, view.style, view.width)
    noise = cache(partial(noise_for, store))
    return "\n\n".join(_results(store, each, view, noise) for each in selections)


def _results(store: Store, selection: Selection, view: View, noise: NoiseLookup) -> str:
    measurements, runs = selection.measurements, selection.runs
    if view.best:
        return best_tables(measurements, runs, view.style, view.width, noise=noise)
    return results_table(
        measurements,
        runs,
        view.style,
        view.width,
        sentinels=_sentinels(store, runs),
        host=view.host,
        ids=view.ids,
        noise=noise,
    )


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
