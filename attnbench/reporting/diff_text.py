"""A diff as text: differences first, then the losers, then cases that were not compared."""

from collections import Counter
from collections.abc import Sequence

from attnbench.analysis.compare import geometric_mean_ratio
from attnbench.records import RunStatus
from attnbench.reporting.columns import field_columns, time_columns
from attnbench.reporting.diff_clocks import clock_columns, on_clocks
from attnbench.reporting.diff_noise import noise_advice, noise_header
from attnbench.reporting.next_step import advice, commands
from attnbench.reporting.tables import spec_column
from attnbench.reporting.text_table import (
    WIDTH,
    Column,
    Style,
    heading,
    items,
    known,
    text_table,
    with_looks,
)
from attnbench.results.cohort import Cohort
from attnbench.results.diff import FAILS, NOW_FAILS, NOW_RUNS, Diff, Row
from attnbench.results.differences import source_text
from attnbench.results.selection import Selection
from attnbench.results.suspects import device_ratios, suspects
from attnbench.units import MISSING, change_in_percent, counted, percent


def diff_text(diff: Diff, width: int = WIDTH, style: Style = "table") -> str:
    """The whole diff as a terminal's text."""
    blocks = [
        items(header(diff), width=width),
        *(table(rows, diff, style, width) for rows in by_cohort(diff.rows)),
        "\n".join([items(summary(diff), width=width), *commands(diff)]),
        items([*failures(diff.rows), *diff.leftovers], width=width),
    ]
    return "\n\n".join(filter(None, blocks))


def header(diff: Diff) -> list[str]:
    """The runs, their differences except time, what may explain a change, and noise."""
    sides = [f"base: {side_text(diff.base)}", f"head: {side_text(diff.head)}"]
    return [*sides, *beside_times(diff)]


def beside_times(diff: Diff) -> list[str]:
    """Differences, what may explain a change, and noise: to be read before any verdict."""
    across = [f"across: {diff.across}"] if diff.across else []
    return [*across, *_differences(diff), *suspects(diff), *noise_header(diff)]


def side_text(selection: Selection) -> str:
    """The runs of a side, with their code and start time."""
    texts = []
    for run in selection.runs.values():
        label = f' "{run.label}"' if run.label else ""
        state = "" if run.status == RunStatus.FINISHED else f", {run.status}"
        started = f"{run.started:%Y-%m-%d %H:%M} UTC"
        texts.append(f"run {run.number}{label}, {source_text(run.source)}, {started}{state}")
    return "; ".join(texts)


def _differences(diff: Diff) -> list[str]:
    if diff.base.runs.keys() == diff.head.runs.keys():
        return []
    lines = [f"differs: {text}" for text in diff.differences]
    cells = [row.cell for row in diff.rows if row.cell is not None]
    num_moved = sum(not cell.same_device for cell in cells)
    if 0 < num_moved < len(cells):
        lines = lines or ["source and software are the same on both sides"]
        lines.append(f"{num_moved} of {len(cells)} cases ran on another card than in the base")
    lines = lines or ["source, software and machine are the same on both sides"]
    if len(diff.base.runs) > 1 or len(diff.head.runs) > 1:
        lines.append("a side has several runs; differences are shown for the newest of each")
    return lines


def by_cohort(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows grouped for tables: by family, method and machine model."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.verdict == FAILS:  # shown only in a sentence below the tables
            continue
        _, method, machine = row.pair.base.key
        groups.setdefault((row.pair.base.case.family, method, machine), []).append(row)
    return list(groups.values())


def table(rows: Sequence[Row], diff: Diff, style: Style = "table", width: int = WIDTH) -> str:
    """Rows of one cohort with its heading."""
    columns = with_looks(verdict_columns(rows, diff), [row.verdict for row in rows])
    lines = heading(cohort_lines(rows, diff), style, width)
    return f"{lines}\n\n{text_table(columns, style, width)}"


def cohort_lines(rows: Sequence[Row], diff: Diff) -> list[str]:
    """The facts that all rows of a table share."""
    base = Cohort([row.pair.base for row in rows], diff.base.runs)
    head = Cohort([row.pair.head for row in rows], diff.head.runs)
    both = Cohort([*base.series, *head.series], {**base.all_runs, **head.all_runs})
    rounds = f"{base.rounds} and {head.rounds} rounds"
    return [f"{both.subject}; {rounds}", head.shared_but(*_across(diff))]


def verdict_columns(rows: Sequence[Row], diff: Diff) -> list[Column]:
    """A verdict on each row, with its evidence."""
    head = Cohort([row.pair.head for row in rows], diff.head.runs)
    return [
        Column("verdict", [row.verdict for row in rows], left=True),
        *([] if "batch" in _across(diff) else [spec_column(head.series)]),
        *field_columns(head.fields, head.series),
        *time_columns([row.pair for row in rows]),
        Column("change\n%", [_change(row) for row in rows]),
        Column("95 % interval\n%", [_interval(row) for row in rows]),
        *clock_columns(rows),
        *known("finds\n%", [_finds(row) for row in rows], optional=True),
        *known(
            "less\ndevice", list(map(_less_device, rows, device_ratios(diff, rows))), spare=True
        ),
        *known("rounds\nneeded", [_rounds_needed(row) for row in rows], optional=True),
    ]


def _across(diff: Diff) -> tuple[str, ...]:
    return (diff.across.field,) if diff.across else ()


def _finds(row: Row) -> str:
    """The smallest change that would have been found, if none was."""
    found = row.comparison
    if found is None or found.detectable is None or found.verdict != "same":
        return MISSING
    return change_in_percent(1 + found.detectable).removeprefix("+")


def _less_device(row: Row, foreseen: float | None) -> str:
    """The change without the part predicted by the sentinels."""
    if row.comparison is None or foreseen is None:
        return MISSING
    return change_in_percent(row.comparison.ratio / foreseen)


def _change(row: Row) -> str:
    return change_in_percent(row.comparison.ratio) if row.comparison else MISSING


def _interval(row: Row) -> str:
    found = row.comparison
    if found is None or found.low is None or found.high is None:
        return MISSING
    return f"{change_in_percent(found.low)} to {change_in_percent(found.high)}"


def _rounds_needed(row: Row) -> str:
    if row.comparison is None or row.cell is None or row.cell.least_rounds == 1:
        return MISSING  # a single round does not show how far rounds spread
    return str(row.comparison.rounds_needed or MISSING)


def summary(diff: Diff) -> list[str]:
    """The count of each verdict, the mean, and the basis of the verdicts."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in diff.counts.items())
    margin = f"a change within {percent(diff.margin)} does not matter"
    lines = [f"{counts}; {margin}"]
    if found := diff.comparisons:
        mean = change_in_percent(geometric_mean_ratio(found))
        cases = "1 case" if len(found) == 1 else f"the {len(found)} cases"
        lines.append(f"geometric mean of {cases} with a time on both sides: {mean} %")
    lines += on_clocks(diff.rows)
    if any(each.verdict == "unclear" and each.low is None for each in found):
        lines.append(
            "no interval: a single round shows no spread, and too few similar cases have one to "
            "borrow"
        )
    lines += _doubts(diff)
    if any(each.verdict == "same" for each in found):
        lines.append("finds: the smallest change that would have been found four times in five")
    if partial := sum(map(_is_partial, diff.rows)):
        cases = counted(partial, "case")
        lines.append(f"change of {cases}: over the rounds in which both sides have a time")
    return [*lines, *noise_advice(diff), *advice(diff)]


def _doubts(diff: Diff) -> list[str]:
    """Why cases are unclear whose interval lies beyond the margin."""
    judged = [row.decisive for row in diff.rows]
    doubts = Counter(found.doubt for found in judged if found and found.doubt)
    return [f"{_lie(count)} beyond the margin, but {doubt}" for doubt, count in doubts.items()]


def _lie(count: int) -> str:
    return "1 unclear case lies" if count == 1 else f"{count} unclear cases lie"


def _is_partial(row: Row) -> bool:
    """Whether fewer rounds were compared than the shown times have."""
    if row.cell is None or not row.cell.paired:
        return False
    rounds = max(len(row.pair.base.medians), len(row.pair.head.medians))
    return len(row.cell.base) < rounds


def failures(rows: Sequence[Row]) -> list[str]:
    """A sentence per reason for failures on a side, with the cases."""
    lines = []
    for verdict in (NOW_FAILS, NOW_RUNS, FAILS):
        pairs = [row.pair for row in rows if row.verdict == verdict]
        failed = Cohort([p.head if p.head.failures else p.base for p in pairs], {})
        lines += [f"{verdict}: {text}" for text in failed.failures()]
    return lines
