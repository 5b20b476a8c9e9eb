"""One case of a diff, with all its facts on both sides."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.series import Series
from attnbench.reasons import in_short
from attnbench.records import Measurement
from attnbench.reporting.fingerprints import fingerprints
from attnbench.reporting.text_table import Column, Style, heading, items, known, text_table
from attnbench.results.diff import Diff, Row
from attnbench.results.explain import KEY_SHOWN, SamplesById
from attnbench.results.suspects import kernels_of
from attnbench.units import (
    MISSING,
    change_in_percent,
    clock_column,
    percent,
    seconds_column,
    three_digits,
)

_BARS = "▁▂▃▄▅▆▇█"
_BINS = 20
_BULK = 0.98  # of all samples; slower ones count in the last bin


def explain_text(diff: Diff, row: Row, samples: SamplesById, style: Style, width: int) -> str:
    """One row of a diff: verdict, rounds with samples, kernels, fingerprints."""
    base, head = row.pair.base, row.pair.head
    title = f"{head.case.family} {diff.describe(head.case)}, key {head.first.case_key[:KEY_SHOWN]}"
    runs = diff.base.runs[base.runs[-1]], diff.head.runs[head.runs[-1]]
    blocks = [
        heading([title], style, width),
        items(_verdict(row), style, width),
        text_table(_rounds(samples, row), style, width),
        items(
            [
                *([_SPARKLINE] if any(map(len, samples.values())) else []),
                *_failures(row),
                *_ran("base", base),
                *_ran("head", head),
            ],
            style,
            width,
        ),
        heading(["Where they ran; * marks differences"], style, width),
        text_table(fingerprints(*runs), style, width),
    ]
    return "\n\n".join(filter(None, blocks))


_SPARKLINE = (
    "samples: a histogram from the fastest of both sides to the 98th percentile; slower ones are "
    "in the last bar"
)


def _verdict(row: Row) -> list[str]:
    found = row.comparison
    if found is None:
        return [row.verdict]
    change = f"{row.verdict}: {change_in_percent(found.ratio)} %; {found.reason}"
    if found.q is None or found.detectable is None:
        return [change]
    return [
        change,
        f"p {found.p:.2g}, {found.q:.2g} among all cases; a change of "
        f"{percent(found.detectable)} would be found four times in five",
    ]


def _rounds(stored: SamplesById, row: Row) -> list[Column]:
    sides = [("base", each) for each in row.pair.base.timed]
    sides += [("head", each) for each in row.pair.head.timed]
    listed = [each for _, each in sides]
    samples = [stored[each.id] for each in listed]
    unit, medians = seconds_column([each.median for each in listed])
    ends = [end for each in listed for end in (each.low, each.high)]
    _, limits = seconds_column([*(each.median for each in listed), *ends])
    intervals = [" to ".join(limits[len(listed) + 2 * at :][:2]) for at in range(len(listed))]
    clock_unit, clocks = clock_column(_guarded(listed, "sm_clock_hz_median"))
    columns = [
        Column("side", [side for side, _ in sides], left=True),
        Column("run", [str(each.run) for each in listed]),
        Column("round", [str(each.round + 1) for each in listed]),
        Column(f"median\n{unit}", medians),
        Column(f"95 % interval\n{unit}", intervals, optional=True),
        Column("num", [str(each.num_samples) for each in listed]),
        Column("samples", sparklines(samples), left=True),
        *known(f"clock\n{clock_unit}", clocks),
        *known("power\nW", _plain(_guarded(listed, "mean_watts"))),
        *known("temp\nC", _plain(_guarded(listed, "temperature"))),
    ]
    if any(each.outcome.labels for each in listed):
        texts = [", ".join(each.outcome.labels) or MISSING for each in listed]
        columns.append(Column("labels", texts, left=True, shrinks=True))
    return columns


def _guarded(listed: Sequence[Measurement], fact: str) -> list[float | None]:
    """A fact that NVML reported for each round, None if it did not."""
    return [each.outcome.guard.get(fact) for each in listed]


def _plain(values: Sequence[float | None]) -> list[str]:
    return [MISSING if value is None else three_digits(value) for value in values]


def sparklines(rounds: Sequence[NDArray[np.float64]]) -> list[str]:
    """A histogram of each round's samples, all over the same logarithmic range of seconds."""
    together = np.concatenate(rounds) if rounds else np.empty(0)
    if not len(together):
        return [""] * len(rounds)
    low, high = float(together.min()), float(np.quantile(together, _BULK))
    edges = np.geomspace(low, max(high, low * (1 + 1e-9)), _BINS + 1)
    return [_bars(np.histogram(np.clip(each, low, edges[-1]), edges)[0]) for each in rounds]


def _bars(counts: NDArray[np.int64]) -> str:
    top = counts.max(initial=0)
    return "".join(
        _BARS[int((len(_BARS) - 1) * count / top)] if count else " " for count in counts
    ).rstrip()


def _failures(row: Row) -> list[str]:
    return [
        f"{side} round {each.round + 1}: {each.status}: {in_short(each.outcome.reason)}"
        for side, series in (("base", row.pair.base), ("head", row.pair.head))
        for each in series.failures
    ]


def _ran(side: str, series: Series) -> list[str]:
    chosen = ", ".join(f"{name} {value}" for name, value in series.resolved.items())
    kernels = ", ".join(kernels_of(series))
    return [
        *([f"{side} ran {chosen}"] if chosen else []),
        *([f"{side} kernels: {kernels}"] if kernels else []),
    ]
