"""One metric with a column per value of a field."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from attnbench.analysis.across import BETWEEN, field_of, method_but
from attnbench.analysis.fields import batch_text, requested
from attnbench.analysis.roofline import roofline_fraction
from attnbench.analysis.series import Series
from attnbench.errors import UsageError
from attnbench.families import family_of
from attnbench.labels import Label
from attnbench.meant import meant
from attnbench.reporting.columns import field_columns
from attnbench.reporting.headings import cohort_heading
from attnbench.reporting.notes import shared_by_all, warnings
from attnbench.reporting.tables import spec_column
from attnbench.reporting.text_table import WIDTH, Column, Style, folded_table, items
from attnbench.results.cohort import Cohort
from attnbench.results.where import case_facts, run_facts
from attnbench.specs.case import WORKLOAD_FIELDS
from attnbench.units import (
    MISSING,
    byte_rate_column,
    cycles_column,
    flop_rate_column,
    percent_column,
    seconds_column,
)

_Formatter = Callable[[Sequence[float | None]], tuple[str, list[str]]]

# By metric: its name, the value of a series, and its text.
METRICS: Mapping[str, tuple[str, Callable[[Series, Cohort], float | None], _Formatter]] = {
    "latency": ("latency", lambda series, _: series.time, seconds_column),
    "cycles": ("SM cycles", lambda series, _: series.cycles, cycles_column),
    "tflops": ("useful FLOP rate", lambda series, _: series.flops_per_second, flop_rate_column),
    "gbps": ("useful byte rate", lambda series, _: series.bytes_per_second, byte_rate_column),
    "roofline": (
        "part of the roofline",
        lambda series, cohort: roofline_fraction(series, cohort.machine),
        percent_column,
    ),
}
_MARKS = {
    "*": "*: has a note in the table without --pivot",
    "!": f"!: {Label.ABOVE_ROOFLINE}, so it is wrong",
}
# Fields that distinguish runs, not cases: all runs are then in one table.
_OF_RUNS = ("run", "label", "branch", "commit", "gpu")
# Fields that distinguish batches of equal requests.
_OF_BATCHES = ("num_requests", "q_len", "kv_len")
_COMMIT_DIGITS = 7


@dataclass(frozen=True, slots=True)
class _Table:
    """Cohorts whose rows are shown together, and the field with a column per value."""

    cohorts: Sequence[Cohort]
    by: str

    @property
    def rows(self) -> list[tuple[Series, Cohort]]:
        """The series with a time, with their cohort."""
        return [(series, each) for each in self.cohorts for series in each.timed]

    @property
    def whole(self) -> Cohort:
        """All cohorts as one, for the facts that their rows share."""
        series = list(chain.from_iterable(each.series for each in self.cohorts))
        return Cohort(series, {n: r for s in self.cohorts for n, r in s.all_runs.items()})


def pivot_tables(
    listed: Sequence[Sequence[Cohort]],
    by: str,
    metric: str,
    style: Style = "table",
    width: int = WIDTH,
) -> str:
    """A table per cohort of each selection; `metric` is a key of METRICS.

    `by` is backend, batch, or any other field of a case or its run, or `between`; UsageError for
    one that no row has.
    """
    if by in _OF_RUNS:
        tables = [_Table(group, by) for group in _merged(chain.from_iterable(listed), by)]
    else:
        tables = [_Table(group, by) for each in listed for group in _merged(each, by)]
    _check_field(tables, by)
    texts = [_table_text(each, metric, style, width) for each in tables]
    return "\n\n".join([*texts, *_apart(tables, by, style, width)])


def _apart(tables: Sequence[_Table], by: str, style: Style, width: int) -> list[str]:
    """Why runs do not stand side by side although a column for each was asked for."""
    families = [each.cohorts[0].series[0].case.family for each in tables]
    if by not in _OF_RUNS or len(set(families)) == len(families):
        return []
    return [
        items(
            [f"{by}s are in tables of their own where the method of timing or the machine differs"],
            style,
            width,
        )
    ]


def _merged(listed: Iterable[Cohort], by: str) -> list[list[Cohort]]:
    """Cohorts grouped by all but their runs, and their GPU or `between` if `by` is that."""
    groups: dict[tuple[str, ...], list[Cohort]] = {}
    for each in listed:
        first = each.series[0]
        key = (first.case.family, method_but(first, by), "" if by == "gpu" else first.key[2])
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _check_field(tables: Sequence[_Table], by: str) -> None:
    known = {
        name for table in tables for series, cohort in table.rows for name in _facts(series, cohort)
    }
    if known and by not in known:
        raise UsageError(
            f"--pivot {by}: no case has a field '{by}'{meant(by, sorted(known))}; the fields are "
            f"{', '.join(sorted(known))}"
        )


def _facts(series: Series, cohort: Cohort) -> dict[str, object]:
    """Resolved settings over requested ones, and the run's facts."""
    run = cohort.all_runs[series.first.run]
    between = {BETWEEN: field_of(series, BETWEEN)}
    return {**case_facts(series.case), **series.resolved, **between, **run_facts(run)}


def _table_text(table: _Table, metric: str, style: Style, width: int) -> str:
    name, value, column = METRICS[metric]
    values = [value(each, cohort) for each, cohort in table.rows]
    whole = table.whole
    blocks = [cohort_heading(whole, style, width)]
    if any(each is not None for each in values):
        unit, texts = column(values)
        cells, notes = _marked(texts, table)
        of_rows, of_values = _columns(table, whole, cells)
        blocks += [f"{name}, {unit}", folded_table(of_rows, of_values, style, width)]
        blocks.append(items(notes, style, width))
    elif values:
        blocks.append(f"{name}: unknown for all of these cases")
    blocks.append(items(whole.failures(), style, width))
    return "\n\n".join(filter(None, blocks))


def _marked(texts: Sequence[str], table: _Table) -> tuple[list[str], list[str]]:
    """The cells, doubtful ones with a star and wrong ones with a !, and the notes below."""
    impossible = [each for cohort in table.cohorts for each in cohort.wrong]
    doubts = [
        warnings(each, cohort, wrong=wrong)
        for (each, cohort), wrong in zip(table.rows, impossible, strict=True)
    ]
    shared = shared_by_all(doubts)
    stars = ["*" if set(found) - set(shared) else "" for found in doubts]
    marks = ["!" if wrong else "" for wrong in impossible]
    notes = [text for mark, text in _MARKS.items() if mark in (*stars, *marks)]
    cells = list(map("{}{}{}".format, marks, texts, stars))
    return cells, [*notes, *(f"all: {text}" for text in shared)]


def _columns(
    table: _Table, whole: Cohort, cells: Sequence[str]
) -> tuple[list[Column], list[Column]]:
    """The fields that distinguish rows, and the values; two in one cell take two rows."""
    rows: dict[tuple[object, ...], dict[str, str]] = {}
    firsts: dict[tuple[object, ...], Series] = {}
    names = _row_names(table.by, whole)
    for (series, cohort), cell in zip(table.rows, cells, strict=True):
        header = _header(series, cohort, table.by, whole)
        facts = _batch_key(series, table.by)
        asked = requested(series.case)
        key: tuple[object, ...] = (facts, *(asked.get(name) for name in names))
        while header in rows.get(key, {}):
            key = (*key, "again")
        firsts.setdefault(key, series)
        rows.setdefault(key, {})[header] = cell
    headers = dict.fromkeys(header for row in rows.values() for header in row)
    listed = list(firsts.values())
    of_rows = [*_batch_columns(listed, table.by), *field_columns(whole.fields, listed, names)]
    return of_rows, [
        Column(each, [row.get(each, MISSING) for row in rows.values()]) for each in headers
    ]


def _row_names(by: str, whole: Cohort) -> list[str]:
    """The varying fields that distinguish rows, except the batch."""
    if by == "backend":  # the header has the implementation with all its choices
        return [name for name in whole.fields.varying if name in WORKLOAD_FIELDS]
    return [name for name in whole.fields.varying if name != by]


def _batch_key(series: Series, by: str) -> object:
    if _is_the_batch(series, by):
        return None
    if by not in _OF_BATCHES:
        return str(series.case.batch)
    if len(series.case.batch.groups()) > 1:
        raise UsageError(
            f"--pivot {by}: the requests of {series.case.batch} differ in it; leave such batches "
            f"out, e.g. --where batch={series.case.batch.requests[0]}, or use --pivot batch"
        )
    facts = case_facts(series.case)
    return tuple(facts[name] for name in _OF_BATCHES if name != by)


def _batch_columns(listed: Sequence[Series], by: str) -> list[Column]:
    if _is_the_batch(listed[0], by):
        return []
    if by not in _OF_BATCHES:
        return [spec_column(listed)]
    facts = [case_facts(each.case) for each in listed]
    return [
        Column(name.replace("_", "\n", 1), [str(each[name]) for each in facts])
        for name in _OF_BATCHES
        if name != by
    ]


def _is_the_batch(series: Series, by: str) -> bool:
    """Whether `by` identifies the batch: for a cache write only the number of tokens does."""
    return by == "batch" or (by == "num_tokens" and family_of(series.case).counts_tokens)


def _header(series: Series, cohort: Cohort, by: str, whole: Cohort) -> str:
    if by == "backend":
        return _implementation(series, whole)
    if _is_the_batch(series, by):
        return batch_text(series.case).replace(" ", "\n")
    value = _facts(series, cohort).get(by)
    text = MISSING if value is None else str(value)
    return f"{by.replace('_', ' ')}\n{text[:_COMMIT_DIGITS] if by == 'commit' else text}"


def _implementation(series: Series, cohort: Cohort) -> str:
    """The header of a series' column: its backend, and its choices below."""
    asked = requested(series.case)
    choices = [n for n in cohort.fields.varying if n in asked and n not in WORKLOAD_FIELDS]
    others = [f"{name.replace('_', ' ')} {asked[name]}" for name in choices if name != "backend"]
    return "\n".join([series.case.backend, *others])
