"""Explanations of different times other than the code under test, shown before any verdict."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from attnbench.analysis.pairing import Pair
from attnbench.analysis.roofline import roofline_of
from attnbench.analysis.series import Series
from attnbench.analysis.within_round import NORMAL_REACH, variance_by_samples
from attnbench.labels import Label
from attnbench.provenance.machine import Machine
from attnbench.records import Rates
from attnbench.results.diff import Diff, Row
from attnbench.results.selection import newest
from attnbench.results.sentinels import moved
from attnbench.shorten import shorten, some
from attnbench.specs.case import Case
from attnbench.timing.sentinels import DRIFT, Sentinels, drift
from attnbench.units import change_in_percent, clock_column, percent

_CASES, _KERNELS = 4, 3  # listed in a line
_KERNEL_WIDTH = 72
KERNEL_CHANGED = "kernel changed: "  # the start of its lines
_IN_BASE = "only in base"  # the end of a text about the base's cases


def suspects(diff: Diff) -> list[str]:
    """A line per suspect, the likeliest first; differences of the runs are shown before them."""
    pairs = [row.pair for row in diff.rows if row.comparison]
    # Two backends are not expected to have the same kernels.
    alike = [] if diff.across and diff.across.field == "backend" else pairs
    return [
        *_grouped(diff, alike, _kernels),
        *_grouped(diff, alike, _ran),
        *_device(diff),
        *_clocks(diff, pairs),
        *_grouped(diff, pairs, _labels),
        *_grouped(
            diff,
            [row.pair for row in diff.rows if row.cell and not row.kernel],
            _uncertain_by(diff.margin),
        ),
        *_together(diff),
    ]


def device_ratios(diff: Diff, rows: Sequence[Row]) -> list[float | None]:
    """The time ratio predicted for each row by the sentinels: 1.02 is a device 2 % slower.

    By the copy's rate if memory bounds the case, by the matmul's if compute does. None if the bound
    is unknown or the sentinels have not moved.
    """
    shift = _device_shift(diff)
    if not _beyond(shift):
        return [None] * len(rows)
    machine = Machine.from_facts(newest(diff.head).machine)
    return [_foreseen(row.pair.head, machine, shift) for row in rows]


def _foreseen(series: Series, machine: Machine, shift: Mapping[str, float]) -> float | None:
    if not series.timed:
        return None
    limit = roofline_of(series, machine)
    if limit is None or limit.bound is None:
        return None
    rate = "bytes_per_second" if limit.bound == "memory" else "flops_per_second"
    return math.exp(-shift[rate])


def _grouped(
    diff: Diff, pairs: Sequence[Pair], texts_of: Callable[[Pair], Iterable[str]]
) -> list[str]:
    """A line per text from `texts_of`, with the cases of its pairs."""
    found: dict[str, list[Case]] = {}
    for pair in pairs:
        for text in texts_of(pair):
            side = pair.base if text.endswith(_IN_BASE) else pair.head
            found.setdefault(text, []).append(side.case)
    if not found:
        return []
    describe = diff.describe
    return [
        f"{text}: all {len(pairs)} cases"
        if len(cases) == len(pairs) > _CASES
        else f"{text}: {some(map(describe, cases), len(cases), _CASES)}"
        for text, cases in found.items()
    ]


def kernels_of(series: Series) -> tuple[str, ...]:
    """The names of its calls' kernels, empty if they are unknown."""
    return tuple(dict.fromkeys(name for each in series.timed for name in each.outcome.kernels))


def _kernels(pair: Pair) -> list[str]:
    before, after = kernels_of(pair.base), kernels_of(pair.head)
    if not before or not after or set(before) == set(after):
        return []
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    short = {name: _short(name) for name in (*gone, *new)}
    if {short[name] for name in gone} & {short[name] for name in new}:
        short = {name: shorten(name, _KERNEL_WIDTH) for name in short}
    if not gone or not new:
        return [f"{KERNEL_CHANGED}{_names(short, gone or new)} {'added' if new else 'gone'}"]
    return [f"{KERNEL_CHANGED}{_names(short, gone)} -> {_names(short, new)}"]


def _short(name: str) -> str:
    """A kernel's name without its return type, template arguments and parameters."""
    bare = name.removeprefix("void ").partition("<")[0].partition("(")[0].strip()
    return shorten(bare or name, _KERNEL_WIDTH)


def _names(short: Mapping[str, str], names: Sequence[str]) -> str:
    texts = list(dict.fromkeys(short[name] for name in names))
    more = [f"{len(texts) - _KERNELS} more"] if len(texts) > _KERNELS else []
    return ", ".join([*texts[:_KERNELS], *more])


def _ran(pair: Pair) -> list[str]:
    """Settings that the backend itself chose differently on the two sides."""
    before, after = pair.base.resolved, pair.head.resolved
    return [
        f"what ran changed: {name} {before[name]} -> {after[name]}"
        for name in before
        if name in after and before[name] != after[name] and not _asked_apart(pair, name)
    ]


def _asked_apart(pair: Pair, name: str) -> bool:
    """Whether the two cases ask for different values, as with --across."""
    before, after = pair.base.case.canonical(), pair.head.case.canonical()
    return before.get(name) != after.get(name)


def _device(diff: Diff) -> list[str]:
    shift = _device_shift(diff)
    if not _beyond(shift):
        return []
    return [
        "the device itself moved between the newest runs, by its sentinels: "
        f"{', '.join(moved(shift))}: suspect clocks and driver before the code"
    ]


def _device_shift(diff: Diff) -> dict[str, float]:
    """ln(head / base) of the newest runs' sentinels; empty if unknown."""
    sides = [diff.sentinels.get(newest(side).number, {}) for side in (diff.base, diff.head)]
    if not all("start" in moments for moments in sides):
        return {}
    return drift(*map(_typical, sides))


def _typical(moments: Mapping[str, Rates]) -> Sentinels:
    """The mean of a run's start and end."""
    names = moments["start"]
    return Sentinels.from_facts(
        {name: _middle([facts.get(name) for facts in moments.values()]) for name in names}
    )


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _beyond(shift: Mapping[str, float]) -> bool:
    return any(abs(change) > DRIFT for change in shift.values())


def _clocks(diff: Diff, pairs: Sequence[Pair]) -> list[str]:
    """Cases whose kernels ran at different SM clocks on the two sides."""
    known = [
        (pair, before, after)
        for pair in pairs
        if (before := _clock(pair.base)) and (after := _clock(pair.head))
    ]
    other = [each for each in known if abs(math.log(each[2] / each[1])) > DRIFT]
    if not other:
        return []
    pair, before, after = max(other, key=lambda each: abs(math.log(each[2] / each[1])))
    unit, texts = clock_column([before, after])
    return [
        f"the SM clock differs by over 2 % in {len(other)} of {len(known)} cases, most in "
        f"{diff.describe(pair.head.case)}: {texts[0]} -> {texts[1]} {unit}"
    ]


def _clock(series: Series) -> float | None:
    """Hz while its samples were taken, the median over rounds; None if unknown."""
    guards = [each.outcome.guard for each in series.timed]
    return _middle([g.get("sm_clock_hz_median", g.get("sm_clock_hz_after")) for g in guards])


def _labels(pair: Pair) -> list[str]:
    before, after = pair.base.labels, pair.head.labels
    found = [
        f"{label} {'only in head' if label in after else _IN_BASE}"
        for label in Label
        if label.subject in ("device", "launching") and (label in before) != (label in after)
    ]
    if Label.SHARED_GPU in before and Label.SHARED_GPU in after:
        found.append(f"{Label.SHARED_GPU} on both sides, whose other processes may differ")
    return found


def _uncertain_by(margin: float) -> Callable[[Pair], list[str]]:
    """A function that names rounds whose samples leave their time uncertain by over the margin."""
    most = (math.log1p(margin) / NORMAL_REACH) ** 2

    def texts(pair: Pair) -> list[str]:
        wide = [variance_by_samples(side) > most for side in (pair.base, pair.head)]
        if not any(wide):
            return []
        where = "on both sides" if all(wide) else "only in head" if wide[1] else _IN_BASE
        return [f"the samples leave a round's time uncertain by over {percent(margin)}, {where}"]

    return texts


def _together(diff: Diff) -> list[str]:
    """What moved all cases alike, and whether verdicts hang on it."""
    if (shift := diff.basis.compared.shift) is None:
        return []
    low, high = (change_in_percent(math.exp(each)) for each in shift.interval)
    whose = "whose code is the same" if shift.by_controls else "compared, if most did not change"
    text = (
        f"shift of the whole device: {change_in_percent(math.exp(shift.log_ratio))} % "
        f"(95 % interval {low} to {high}), by the {shift.num_cells} cases {whose}"
    )
    if abs(shift.log_ratio) > math.log1p(diff.margin):
        text += ": suspect clocks and driver before the code"
    return [text]
