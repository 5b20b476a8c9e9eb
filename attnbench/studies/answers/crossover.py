"""From which query length on prefill beats decode."""

from collections.abc import Iterable, Sequence
from statistics import median

from attnbench.analysis.axes import axis_text, axis_value
from attnbench.analysis.crossover import Crossover, find_crossover, points_of
from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.series import Series
from attnbench.reporting.crossover import crossover_text
from attnbench.specs.case import Case
from attnbench.studies.answers.base import (
    Answer,
    Table,
    describe,
    not_answered,
    varying,
)
from attnbench.studies.charts import Lines, Spot
from attnbench.studies.search import Curve, curves_of, known_times
from attnbench.units import MISSING


def answer(listed: Sequence[Series], noise: NoiseOf) -> Answer:
    """A line per backend and shape, a row per curve."""
    if sentence := not_answered(listed):
        return Answer([sentence])
    curves = curves_of([each.case for each in listed])
    keys = {
        curve: {q: (decode.key, prefill.key) for q, (decode, prefill) in cells.items()}
        for curve, cells in curves.items()
    }
    known, broken = known_times(keys, [m for each in listed for m in each.rounds])
    points = points_of(known, noise)
    cases = {curve: next(iter(cells.values()))[0] for curve, cells in curves.items() if cells}
    found = {c: find_crossover(points[c], broken[c]) for c in cases if points[c]}
    lost = [c for c in cases if not points[c]]
    axes = _axes(list(cases.values()))
    lines = [*_group_lines(found, cases, axes), *_lost(lost, cases, axes, listed)]
    lines += _unseen(found.values())
    table = Table(
        "Crossovers at the lengths measured: decode wins up to low outside noise, prefill from "
        "high on; between them neither is known to.",
        _columns(found, cases, axes),
    )
    return Answer(lines, [table], [_chart(found, cases, axes)])


def _unseen(found: Iterable[Crossover]) -> list[str]:
    """How far apart lengths were measured: more was not shown."""
    apart = max((each.apart for each in found), default=1.0)
    if apart == 1.0:
        return []
    return [
        f"by lengths up to a factor of {apart:.3g} apart: wins that alternate between two of them "
        "are not seen"
    ]


def _axes(cases: Sequence[Case]) -> list[str]:
    names = dict.fromkeys(name for case in cases for name in case.canonical())
    fields = [name for name in names if name not in ("batch", "family", "threshold")]
    return varying(cases, [*fields, "context"])


def _group_lines(
    found: dict[Curve, Crossover], cases: dict[Curve, Case], axes: Sequence[str]
) -> list[str]:
    groups: dict[str, list[Curve]] = {}
    for curve in found:
        groups.setdefault(_name(cases[curve], axes), []).append(curve)
    return [
        f"{name}: {_summary([(cases[c], found[c]) for c in curves])}"
        for name, curves in groups.items()
    ]


def _name(case: Case, axes: Sequence[str]) -> str:
    beside = describe(case, [name for name in axes if name != "backend"])
    return f"{case.backend}, {beside}" if beside else case.backend


def _summary(group: Sequence[tuple[Case, Crossover]]) -> str:
    ordered = sorted(group, key=lambda each: len(each[0].batch))
    single = [(case, each) for case, each in ordered if each.estimate is not None]
    parts = [_part(case, each) for case, each in ordered]
    text = "; ".join(parts)
    if len(single) > 1:
        middle = median(each.estimate or 0 for _, each in single)
        text += f"; the median of {len(single)} crossovers is {middle:.0f}"
    return text


def _part(case: Case, found: Crossover) -> str:
    comma = "" if found.estimate is not None or found.kind == "unclear" else ","
    return f"{crossover_text(found)}{comma} at batch size {axis_text(case, 'batch_size')}"


def _columns(
    found: dict[Curve, Crossover], cases: dict[Curve, Case], axes: Sequence[str]
) -> dict[str, list[str]]:
    curves = list(found)
    columns = {
        name.replace("_", " "): [axis_text(cases[c], name) for c in curves]
        for name in (*axes, "batch_size")
    }
    columns["from q"] = [_number(found[c].estimate) for c in curves]
    columns["low"] = [_number(found[c].low) for c in curves]
    columns["high"] = [_number(found[c].high) for c in curves]
    columns["lengths"] = [str(len(found[c].points)) for c in curves]
    columns["apart"] = [f"{found[c].apart:.3g}" for c in curves]
    columns["verdict"] = [_verdict(found[c]) for c in curves]
    return columns


def _verdict(found: Crossover) -> str:
    text = {
        "single": "one change of winner",
        "beyond": "decode wins to the end",
        "below": "prefill wins from the start",
        "alternating": "no single crossover",
        "unclear": "no winner outside noise",
    }[found.kind]
    if found.points and found.kind != "unclear" and not found.sure:
        text += ", by one round"
    return text + (f"; fails from {found.limit}" if found.limit else "")


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.0f}"


def _lost(
    curves: Sequence[Curve],
    cases: dict[Curve, Case],
    axes: Sequence[str],
    listed: Sequence[Series],
) -> list[str]:
    """A sentence per backend and shape without a length that has both times."""
    names = dict.fromkeys(_name(cases[curve], axes) for curve in curves)
    backends = {_name(cases[c], axes): cases[c].backend for c in curves}
    lines = []
    for name in names:
        own = [s for s in listed if s.case.backend == backends[name] and s.failures]
        batches = sum(_name(cases[c], axes) == name for c in curves)
        sentence = not_answered([s for s in own if not s.timed] or own, name)
        lines.append(
            sentence or f"{name}: {batches} curves have no length with times of both paths"
        )
    return lines


def _chart(found: dict[Curve, Crossover], cases: dict[Curve, Case], axes: Sequence[str]) -> Lines:
    series: dict[str, list[Spot]] = {}
    for curve, each in found.items():
        if (y := _height(each)) is not None:
            x = float(axis_value(cases[curve], "batch_size") or 0)
            spot = (x, y, _float(each.low), _float(each.high))
            series.setdefault(_name(cases[curve], axes), []).append(spot)
    return Lines(
        "From which query length on prefill beats decode",
        "batch_size",
        "new tokens a request",
        {name: sorted(spots) for name, spots in series.items()},
        log_y=True,
    )


def _height(found: Crossover) -> float | None:
    """The crossover, or the only end that is known."""
    if found.kind in ("beyond", "below"):
        return _float(found.high if found.low is None else found.low)
    return found.estimate


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)
