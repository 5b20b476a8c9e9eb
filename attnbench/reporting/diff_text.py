"""A diff for people: what differs first, then the losers, then what was not compared."""

import math
from collections.abc import Sequence

from attnbench.analysis.compare import Comparison, Noise, geometric_mean_ratio, global_shift
from attnbench.db.models import RunStatus
from attnbench.reporting.diff import FAILS, NOW_FAILS, NOW_RUNS, Diff, Row
from attnbench.reporting.differences import source_text
from attnbench.reporting.grid import WIDTH, Column, Style, grid, heading, items
from attnbench.reporting.section import Section
from attnbench.reporting.selection import Selection
from attnbench.reporting.tables import spec_column
from attnbench.units import MISSING, change_in_percent, percent, seconds_column


def diff_text(diff: Diff, style: Style = "table", width: int = WIDTH) -> str:
    """The whole diff as a terminal's text or as Markdown."""
    sides = [f"base: {_side(diff.base)}", f"head: {_side(diff.head)}"]
    blocks = [
        items([*sides, *_suspects(diff)], style, width),
        *(_table(rows, diff, style, width) for rows in _by_section(diff.rows)),
        items(_summary(diff), style, width),
        items([*_failures(diff.rows), *diff.leftovers], style, width),
    ]
    return "\n\n".join(filter(None, blocks))


def _side(selection: Selection) -> str:
    texts = []
    for run in selection.runs.values():
        label = f' "{run.label}"' if run.label else ""
        state = "" if run.status == RunStatus.FINISHED else f", {run.status}"
        started = f"{run.started:%Y-%m-%d %H:%M} UTC"
        texts.append(f"run {run.number}{label}, {source_text(run.source)}, {started}{state}")
    return "; ".join(texts)


def _suspects(diff: Diff) -> list[str]:
    """What may explain a change, to be read before any verdict."""
    lines = [f"differs: {text}" for text in diff.differences]
    lines = lines or ["source, software and machine are the same on both sides"]
    if len(diff.base.runs) > 1 or len(diff.head.runs) > 1:
        lines.append("a side has several runs: what differs is told of the newest of each")
    floor = max([math.log1p(diff.margin), *(noise.floor for _, noise in diff.judged)])
    if shift := global_shift(diff.comparisons, floor):
        lines.append(
            f"most cases moved together, by {change_in_percent(shift)} % in the middle: suspect "
            "clocks and driver before the code"
        )
    return lines


def _by_section(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows that one table can show: of one family, method and machine model."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.verdict == FAILS:  # nothing to show but the sentence below the tables
            continue
        _, method, machine = row.pair.base.key
        groups.setdefault((row.pair.base.case.family, method, machine), []).append(row)
    return list(groups.values())


def _table(rows: Sequence[Row], diff: Diff, style: Style, width: int) -> str:
    base = Section([row.pair.base for row in rows], diff.base.runs)
    head = Section([row.pair.head for row in rows], diff.head.runs)
    lines = [f"{head.subject}; {base.rounds} and {head.rounds} rounds", head.shared]
    unit, texts = seconds_column([each.mean_time for each in (*base.series, *head.series)])
    columns = [
        Column("verdict", [row.verdict for row in rows], left=True),
        spec_column(head.series),
        *head.fields.columns(head.series),
        Column(f"base\n{unit}", texts[: len(rows)]),
        Column(f"head\n{unit}", texts[len(rows) :]),
        Column("change\n%", [_change(row) for row in rows]),
        Column("95 % interval\n%", [_interval(row) for row in rows]),
    ]
    needed = [_rounds_needed(row) for row in rows]
    if any(text != MISSING for text in needed):
        columns.append(Column("rounds\nneeded", needed))
    return f"{heading(lines, style, width)}\n\n{grid(columns, style, width)}"


def _change(row: Row) -> str:
    return change_in_percent(row.comparison.ratio) if row.comparison else MISSING


def _interval(row: Row) -> str:
    found = row.comparison
    if found is None or found.low is None or found.high is None:
        return MISSING
    return f"{change_in_percent(found.low)} to {change_in_percent(found.high)}"


def _rounds_needed(row: Row) -> str:
    return str((row.comparison and row.comparison.rounds_needed) or MISSING)


def _summary(diff: Diff) -> list[str]:
    counted = ", ".join(f"{count} {verdict}" for verdict, count in diff.counts.items())
    margin = f"a change within {percent(diff.margin)} does not matter"
    lines = [f"{counted}; {margin}"]
    if found := diff.comparisons:
        mean = change_in_percent(geometric_mean_ratio(found))
        cases = "1 case" if len(found) == 1 else f"the {len(found)} cases"
        lines.append(f"geometric mean of {cases} with a time on both sides: {mean} %")
    lines += _on_unclear([each for each in found if each.verdict == "unclear"])
    return lines + _noise(diff)


def _noise(diff: Diff) -> list[str]:
    """By what the verdicts tell change from noise: measured in a line, assumed in another."""
    apart = [noise for cell, noise in diff.judged if not cell.paired]
    measured = [noise.session_sd for noise in apart if noise.measured]
    floors = [noise.floor for _, noise in diff.judged if noise.floor > 0]
    told, found = [], []
    if len(apart) < len(diff.judged):
        told.append("rounds were interleaved and are compared pair by pair")
    if measured:
        found.append(f"sessions differ by {_span(measured)}")
    if floors:
        found.append(f"equal code differs by up to {_span(floors)}")
    if found:
        told.append(f"selfcheck found that {' and '.join(found)}")
    return ["; ".join(told), *_assumed(apart)] if told else _assumed(apart)


def _assumed(apart: Sequence[Noise]) -> list[str]:
    assumed = [noise.session_sd for noise in apart if not noise.measured]
    if not assumed:
        return []
    some = f"{len(assumed)} of the {len(apart)} cases"
    where = "this machine" if len(assumed) == len(apart) else some
    return [
        f"no between-session variance is stored for {where}: sessions are assumed to differ by "
        f"{_span(assumed)}"
    ]


def _span(logs: Sequence[float]) -> str:
    """Spreads of logarithms as percentages, from the least to the largest."""
    least, largest = percent(min(logs)), percent(max(logs))
    return least if least == largest else f"{least.removesuffix(' %')} to {largest}"


def _on_unclear(unclear: Sequence[Comparison]) -> list[str]:
    """What would settle them."""
    if not unclear:
        return []
    lines = []
    if any(each.low is None for each in unclear):
        lines.append(
            "no interval: a single round shows no spread, and too few similar cases have one to "
            "borrow"
        )
    if any(each.rounds_needed for each in unclear):
        lines.append(
            "unclear: the rounds needed on each side should settle it; - if not even 1000 would"
        )
    else:
        lines.append("unclear: not even 1000 rounds on each side would settle it")
    return lines


def _failures(rows: Sequence[Row]) -> list[str]:
    """A sentence for each way in which cases failed on a side, with the cases it met."""
    lines = []
    for verdict in (NOW_FAILS, NOW_RUNS, FAILS):
        pairs = [row.pair for row in rows if row.verdict == verdict]
        failed = Section([p.head if p.head.failures else p.base for p in pairs], {})
        lines += [f"{verdict}: {text}" for text in failed.failures()]
    return lines
