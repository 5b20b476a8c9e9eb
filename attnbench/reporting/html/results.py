"""The table of a report's section: rows by workload, the best first."""

from collections.abc import Sequence
from dataclasses import replace

from attnbench.analysis.ranking import Standing
from attnbench.analysis.series import Series
from attnbench.reporting.html.packed import Packable
from attnbench.reporting.html.sweeps import implementation
from attnbench.reporting.html.table import Groups, Head, HtmlTable
from attnbench.reporting.html.tips import tip
from attnbench.reporting.html.workloads import Workload
from attnbench.reporting.notes import marked
from attnbench.reporting.ranking import interval_text
from attnbench.reporting.tables import Extra, result_columns
from attnbench.reporting.text_table import Column, known, stacked, words
from attnbench.results.cohort import Cohort
from attnbench.results.where import case_facts, run_facts

_VS_BEST = "vs\nbest"
_INTERVAL = "95 %\ninterval"


def results_table(key: str, cohort: Cohort, workloads: Sequence[Workload]) -> HtmlTable:
    """The rows of all workloads; a cohort without a time has none."""
    rows = [series for each in workloads for series in each.rows]
    standings = [standing for each in workloads for standing in each.standings]
    columns = _columns(cohort, rows, standings)
    intervals = [_interval(standing) for standing in standings]
    orders = {_INTERVAL: [each and each[0] for each in intervals]}
    table = HtmlTable.of(key, "Results", columns, orders)
    return replace(
        table,
        heads=[_with_bar(head) for head in table.heads],
        groups=_groups(workloads),
        facts=_facts(cohort, rows),
        intervals=intervals,
    )


def _columns(
    cohort: Cohort, rows: Sequence[Series], standings: Sequence[Standing | None]
) -> list[Column]:
    """The implementation, how far it is from the best, then the terminal's other columns."""
    marks, _ = marked(cohort)
    found = result_columns(cohort, marks, Extra(host=True))
    at = {id(series): number for number, series in enumerate(cohort.timed)}
    order = [at[id(series)] for series in rows]
    elsewhere = {"spec", "tokens", *map(stacked, cohort.fields.varying)}
    own = [replace(c, texts=[c.texts[n] for n in order]) for c in found]
    against = next((n for n, c in enumerate(own) if c.header == _VS_BEST), len(own))
    rest = [column for column in own[:against] if column.header not in elsewhere]
    notes = [c for c in own[against:] if c.header == "note"]
    names = words("implementation", [implementation(each.case, cohort.fields) for each in rows])
    ranked = [] if against == len(own) else [own[against], *_intervals(standings)]
    return [names, *ranked, *rest, *notes]


def _intervals(standings: Sequence[Standing | None]) -> list[Column]:
    """The column of intervals; none if single rounds have none."""
    texts = [interval_text(each) for each in standings]
    return [replace(column, left=True) for column in known(_INTERVAL, texts)]


def _with_bar(head: Head) -> Head:
    return replace(head, interval=True, tip=tip(head.text)) if "interval" in head.text else head


def _groups(workloads: Sequence[Workload]) -> Groups:
    return Groups(
        [each.name for each in workloads],
        [each.finding for each in workloads],
        [at for at, each in enumerate(workloads) for _ in each.rows],
    )


def _interval(standing: Standing | None) -> tuple[float, float] | None:
    found = standing and standing.comparison
    if not found or found.low is None or found.high is None:
        return None
    return found.low, found.high


def _facts(cohort: Cohort, rows: Sequence[Series]) -> dict[str, Sequence[Packable]]:
    """The fields that conditions name, as `--where` has them: of cases, choices and runs."""
    facts = [
        {
            **case_facts(each.case),
            **each.resolved,
            **run_facts(cohort.all_runs[each.first.run]),
            "cache_state": each.cache_state,
            "labels": " ".join(each.labels),
            "case": each.first.case_key,
        }
        for each in rows
    ]
    names = dict.fromkeys(name for each in facts for name in each)
    columns = {name: [_plain(each.get(name)) for each in facts] for name in names}
    return {n: c for n, c in columns.items() if any(value is not None for value in c)}


def _plain(value: object) -> Packable:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
