"""The same cases on two models of GPU: the ratio of times beside what the hardware foresees.

It says nothing of the code: no case is called faster or slower.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import geometric_mean

from attnbench.analysis.compare import Comparison, Noise, compare
from attnbench.analysis.pairing import Matching, Pair, Pairing, cell_of, pair_up
from attnbench.analysis.roofline import Roofline, roofline
from attnbench.analysis.series import Series, series_of
from attnbench.db.store import Store
from attnbench.errors import NotComparable, UsageError
from attnbench.provenance.machine import Machine
from attnbench.reporting.fields import Fields, method_text
from attnbench.reporting.grid import WIDTH, Column, Style, grid, heading, items
from attnbench.reporting.noise import noise_for
from attnbench.reporting.section import Section
from attnbench.reporting.selection import Selection, select
from attnbench.reporting.tables import spec_column
from attnbench.specs.case import Case
from attnbench.units import MISSING, percent_column, seconds_column, three_digits

_PREFIX = "gpu:"


def is_across_gpus(base_ref: str, head_ref: str) -> bool:
    """Whether both refs ask for a model of GPU."""
    return base_ref.startswith(_PREFIX) and head_ref.startswith(_PREFIX)


@dataclass(frozen=True)
class GpuRow:
    """A case that has a time on both GPUs. Ratios are of times, head over base."""

    pair: Pair
    comparison: Comparison
    base: Roofline | None  # None where the GPU's peaks are not known
    head: Roofline | None

    @property
    def foreseen(self) -> float | None:
        """The ratio of the least times that each GPU allows."""
        return self.head.floor / self.base.floor if self.base and self.head else None

    @property
    def bound(self) -> str:
        """What sets the least time: memory or compute."""
        if not (self.base and self.head):
            return MISSING
        old, new = self.base.bound, self.head.bound
        return old if old == new else f"{old} -> {new}"

    @property
    def fractions(self) -> tuple[float | None, float | None]:
        """What part of its roofline each side reaches."""
        sides = (self.base, self.pair.base), (self.head, self.pair.head)
        base, head = (
            limit.fraction(series.mean_time, series.cache_state)
            if limit and series.mean_time
            else None
            for limit, series in sides
        )
        return base, head


@dataclass(frozen=True)
class GpuDiff:
    """What comparing two models of GPU found."""

    base: Selection
    head: Selection
    rows: Sequence[GpuRow]  # first where the head falls most behind what is foreseen
    pairing: Pairing

    @cached_property
    def machines(self) -> tuple[Machine, Machine]:
        """One of each model."""
        base, head = (next(iter(side.runs.values())) for side in (self.base, self.head))
        return Machine.from_facts(base.machine), Machine.from_facts(head.machine)


def diff_gpus(store: Store, base_ref: str, head_ref: str, *, pool: bool = False) -> GpuDiff:
    """Compare the cases that two GPUs have in common, of each the newest run or all if pooled.

    UsageError for a ref that names several models; NotComparable for no case in common.
    """
    base, head = select(store, base_ref, pool), select(store, head_ref, pool)
    models = _one_model(base), _one_model(head)
    if models[0] == models[1]:
        raise UsageError(
            f"--base {base_ref} and --head {head_ref} name one model of GPU; name another, or "
            "compare runs of it, e.g. --base 1 --head 2"
        )
    sides = series_of(base.measurements), series_of(head.measurements)
    pairing = pair_up(*sides, matching=Matching(across_machines=True))
    whole = [pair for pair in pairing.pairs if not (pair.base.failures or pair.head.failures)]
    if not whole:
        raise NotComparable(
            f"nothing to compare: no case has a time with the same method and cache state on "
            f"{base_ref} and {head_ref}; measure both with the same options"
        )
    found = GpuDiff(base, head, [], pairing)
    rows = [
        GpuRow(pair, comparison, *map(_limit, (pair.base, pair.head), found.machines))
        for pair, comparison in zip(whole, _comparisons(store, whole), strict=True)
    ]
    rows.sort(key=lambda row: -row.comparison.ratio / (row.foreseen or 1.0))
    return GpuDiff(base, head, rows, pairing)


def _one_model(side: Selection) -> str:
    names = {each.machine_model: each.machine_name for each in side.measurements}
    if len(names) > 1:
        raise UsageError(
            f"{side.ref} names {len(names)} models: {', '.join(sorted(names.values()))}; give "
            "more of the name, e.g. 'gpu:H100 PCIe'"
        )
    return next(iter(names))


def _comparisons(store: Store, pairs: Sequence[Pair]) -> list[Comparison]:
    cells = [cell_of(pair, {}) for pair in pairs]
    noises = {
        cell.key: _larger(*(_noise(store, side, cell.stratum) for side in (pair.base, pair.head)))
        for cell, pair in zip(cells, pairs, strict=True)
    }
    return compare(cells, lambda cell: noises[cell.key])


def _noise(store: Store, series: Series, stratum: str) -> Noise:
    first = series.first
    return noise_for(store, first.machine_key, first.machine_model, first.case.family, stratum)


def _larger(one: Noise, other: Noise) -> Noise:
    return max(one, other, key=lambda noise: noise.session_sd)


def _limit(series: Series, machine: Machine) -> Roofline | None:
    work = series.timed[0]
    return roofline(series.case, work.flops, work.bytes, machine)


def gpu_diff_text(diff: GpuDiff, style: Style = "table", width: int = WIDTH) -> str:
    """A table for each family and method, then the means and what was not compared."""
    base, head = diff.machines
    title = f"time on {head.label} over time on {base.label}; no verdict on the code"
    groups: dict[tuple[str, str], list[GpuRow]] = {}
    for row in diff.rows:
        groups.setdefault((row.pair.base.case.family, row.pair.base.key[1]), []).append(row)
    blocks = [
        heading([title], style, width),
        *(_table(rows, diff, style, width) for rows in groups.values()),
        items(_summary(diff), style, width),
    ]
    return "\n\n".join(blocks)


def _table(rows: Sequence[GpuRow], diff: GpuDiff, style: Style, width: int) -> str:
    base = Section([row.pair.base for row in rows], diff.base.runs)
    head = Section([row.pair.head for row in rows], diff.head.runs)
    method = method_text(head.series[0].first.method)
    rounds = f"{base.rounds} and {head.rounds} rounds"
    lines = [f"{head.series[0].case.family}; {method}; {rounds}", head.shared]
    unit, texts = seconds_column([each.mean_time for each in (*base.series, *head.series)])
    columns = [
        spec_column(head.series),
        *head.fields.columns(head.series),
        Column(f"base\n{unit}", texts[: len(rows)]),
        Column(f"head\n{unit}", texts[len(rows) :]),
        Column("time\nratio", [three_digits(row.comparison.ratio) for row in rows]),
        Column("95 %\ninterval", [_interval(row.comparison) for row in rows], optional=True),
        Column("fore-\nseen", [_ratio(row.foreseen) for row in rows]),
        Column("bound\nby", [row.bound for row in rows], left=True),
        Column("base\nroof %", percent_column([row.fractions[0] for row in rows])[1]),
        Column("head\nroof %", percent_column([row.fractions[1] for row in rows])[1]),
    ]
    return f"{heading(lines, style, width)}\n\n{grid(columns, style, width)}"


def _interval(found: Comparison) -> str:
    if found.low is None or found.high is None:
        return MISSING
    return f"{three_digits(found.low)} to {three_digits(found.high)}"


def _ratio(value: float | None) -> str:
    return MISSING if value is None else three_digits(value)


def _summary(diff: GpuDiff) -> list[str]:
    lines = []
    for bound in dict.fromkeys(row.bound for row in diff.rows):
        rows = [row for row in diff.rows if row.bound == bound]
        ratio = three_digits(geometric_mean(row.comparison.ratio for row in rows))
        foreseen = [row.foreseen for row in rows if row.foreseen is not None]
        of = f"{len(rows)} case{'s' if len(rows) > 1 else ''}"
        what = f"bound by {bound}" if foreseen else "whose bound is not known"
        beside = f", foreseen {three_digits(geometric_mean(foreseen))}" if foreseen else ""
        lines.append(f"geometric mean of {of} {what}: time ratio {ratio}{beside}")
    if any(row.foreseen is None for row in diff.rows):
        lines.append("foreseen: not known, as the peaks of a device are not")
    describe = Fields.of([each.pair.base.case for each in diff.rows]).describe
    left = [(pair.base.case, text) for pair, text in diff.pairing.mismatches]
    lines += [f"not comparable, {text}: {describe(case)}" for case, text in left]
    for side, series in (("base", diff.pairing.only_base), ("head", diff.pairing.only_head)):
        if series:
            lines.append(f"only in {side}: {len(series)} case{'s' if len(series) > 1 else ''}")
    return lines


def gpu_diff_json(diff: GpuDiff) -> str:
    """One object; `cells` holds each case with its ratio and what is foreseen."""
    base, head = diff.machines
    cells = [_cell(row.pair.base.case, row) for row in diff.rows]
    return json.dumps(
        {"base": base.name, "head": head.name, "cells": cells}, indent=1, allow_nan=False
    )


def _cell(case: Case, row: GpuRow) -> dict[str, object]:
    base, head = row.fractions
    return {
        "case": case.canonical(),
        "base_s": row.pair.base.mean_time,
        "head_s": row.pair.head.mean_time,
        "time_ratio": row.comparison.ratio,
        "low": row.comparison.low,
        "high": row.comparison.high,
        "foreseen_ratio": row.foreseen,
        "bound": row.bound if row.foreseen is not None else None,
        "base_roofline_fraction": base,
        "head_roofline_fraction": head,
    }
