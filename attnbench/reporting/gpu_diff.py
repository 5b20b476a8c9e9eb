"""Two GPU models compared, as text and JSON."""

import json
from collections.abc import Sequence
from statistics import geometric_mean

from attnbench.analysis.fields import Fields, method_text
from attnbench.analysis.verdict import Comparison
from attnbench.reporting.columns import field_columns, time_columns
from attnbench.reporting.tables import spec_column
from attnbench.reporting.text_table import Column, Style, heading, items, text_table
from attnbench.results.cohort import Cohort
from attnbench.results.gpu_diff import GpuDiff, GpuRow
from attnbench.specs.case import Case
from attnbench.units import MISSING, counted, percent_column, three_digits


def gpu_diff_text(diff: GpuDiff, style: Style, width: int) -> str:
    """A table per family and method, then the means and the cases that were not compared."""
    base, head = diff.machines
    title = f"time on {head.label} over time on {base.label}; no verdict on the code"
    blocks = [
        heading([title], style, width),
        *(_table(rows, diff, style, width) for rows in by_method(diff)),
        items([*means(diff.rows), *not_compared(diff)], style, width),
    ]
    return "\n\n".join(blocks)


def _table(rows: Sequence[GpuRow], diff: GpuDiff, style: Style, width: int) -> str:
    lines = cohort_lines(rows, diff)
    return (
        f"{heading(lines, style, width)}\n\n{text_table(ratio_columns(rows, diff), style, width)}"
    )


def by_method(diff: GpuDiff) -> list[list[GpuRow]]:
    """The rows grouped for tables: by family and method."""
    groups: dict[tuple[str, str], list[GpuRow]] = {}
    for row in diff.rows:
        groups.setdefault((row.pair.base.case.family, row.pair.base.key[1]), []).append(row)
    return list(groups.values())


def cohort_lines(rows: Sequence[GpuRow], diff: GpuDiff) -> list[str]:
    """The facts that all rows of a table share."""
    base = Cohort([row.pair.base for row in rows], diff.base.runs)
    head = Cohort([row.pair.head for row in rows], diff.head.runs)
    method = method_text(head.series[0].first.method)
    rounds = f"{base.rounds} and {head.rounds} rounds"
    return [f"{head.series[0].case.family}; {method}; {rounds}", head.shared]


def ratio_columns(rows: Sequence[GpuRow], diff: GpuDiff) -> list[Column]:
    """The times of each row, their ratio and the foreseen one."""
    head = Cohort([row.pair.head for row in rows], diff.head.runs)
    return [
        spec_column(head.series),
        *field_columns(head.fields, head.series),
        *time_columns([row.pair for row in rows]),
        Column("time\nratio", [three_digits(row.comparison.ratio) for row in rows]),
        Column("95 %\ninterval", [_interval(row.comparison) for row in rows], optional=True),
        Column("foreseen", [_ratio(row.foreseen) for row in rows]),
        Column("bound by", [row.bound for row in rows], left=True),
        Column("base\nroof %", percent_column([row.fractions[0] for row in rows])[1]),
        Column("head\nroof %", percent_column([row.fractions[1] for row in rows])[1]),
    ]


def _interval(found: Comparison) -> str:
    if found.low is None or found.high is None:
        return MISSING
    return f"{three_digits(found.low)} to {three_digits(found.high)}"


def _ratio(value: float | None) -> str:
    return MISSING if value is None else three_digits(value)


def means(listed: Sequence[GpuRow]) -> list[str]:
    """The mean ratio of the cases with each bound, beside the foreseen one."""
    lines = []
    for bound in dict.fromkeys(row.bound for row in listed):
        rows = [row for row in listed if row.bound == bound]
        ratio = three_digits(geometric_mean(row.comparison.ratio for row in rows))
        foreseen = [row.foreseen for row in rows if row.foreseen is not None]
        of = counted(len(rows), "case")
        what = f"bound by {bound}" if foreseen else "with unknown bound"
        beside = f", foreseen {three_digits(geometric_mean(foreseen))}" if foreseen else ""
        lines.append(f"geometric mean of {of} {what}: time ratio {ratio}{beside}")
    if any(row.foreseen is None for row in listed):
        lines.append("foreseen: unknown, since the peaks of a device are")
    return lines


def not_compared(diff: GpuDiff) -> list[str]:
    """The cases without a ratio, and why."""
    describe = Fields.of([each.pair.base.case for each in diff.rows]).describe
    left = [(pair.base.case, text) for pair, text in diff.pairing.mismatches]
    lines = [f"not comparable, {text}: {describe(case)}" for case, text in left]
    for side, series in (("base", diff.pairing.only_base), ("head", diff.pairing.only_head)):
        if series:
            lines.append(f"only in {side}: {counted(len(series), 'case')}")
    return lines


def gpu_diff_json(diff: GpuDiff) -> str:
    """One object; `cells` holds each case with its ratio and the predicted one."""
    base, head = diff.machines
    cells = [_cell(row.pair.base.case, row) for row in diff.rows]
    return json.dumps(
        {"base": base.name, "head": head.name, "cells": cells}, indent=1, allow_nan=False
    )


def _cell(case: Case, row: GpuRow) -> dict[str, object]:
    base, head = row.fractions
    return {
        "case": case.canonical(),
        "base_s": row.pair.base.time,
        "head_s": row.pair.head.time,
        "time_ratio": row.comparison.ratio,
        "low": row.comparison.low,
        "high": row.comparison.high,
        "foreseen_ratio": row.foreseen,
        "bound": row.bound if row.foreseen is not None else None,
        "base_roofline_fraction": base,
        "head_roofline_fraction": head,
    }
