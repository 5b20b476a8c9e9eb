"""Reasons to doubt the results of a sweep."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from attnbench.analysis.fields import Fields, batch_text
from attnbench.analysis.ragged import shape_of
from attnbench.analysis.roofline import is_above_roofline, roofline_fraction
from attnbench.analysis.series import Series
from attnbench.labels import Label
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import Batch
from attnbench.timing.sentinels import Sentinels

_LEAST_FALL = 0.95  # a time may fall this far while work doubles: tiles, waves, noise
_MOST_JUMP = 2.0  # of the roofline fraction between neighbours
_FLOOR = 10e-6  # seconds; below it launches dominate the time
_WIDE = 0.05  # half the range of the rounds, relative


def lint(
    listed: Sequence[Series], machine: Machine, reached: Collection[Sentinels] = ()
) -> dict[str, list[str]]:
    """By kind of doubt the affected cases, as text; empty if there is none."""
    found: dict[str, list[str]] = defaultdict(list)
    timed = [each for each in listed if each.time is not None]
    fields = Fields.of([each.case for each in timed])
    for series in timed:
        for doubt in _own_doubts(series, machine, reached):
            found[doubt].append(fields.describe(series.case))
    for doubt, smaller, larger in _doubts_about_neighbours(timed, machine):
        found[doubt].append(f"{fields.describe(smaller.case)} to {batch_text(larger.case)}")
    return dict(found)


def _own_doubts(series: Series, machine: Machine, reached: Collection[Sentinels]) -> Iterator[str]:
    if is_above_roofline(series, machine, reached):
        yield "above the roofline"
    yield from (x for x in Label if x.subject == "device" and x in series.labels)
    if len(series.medians) > 1 and (series.spread or 0) > _WIDE:
        yield "rounds over 5 % apart"


def _doubts_about_neighbours(
    timed: Sequence[Series], machine: Machine
) -> Iterator[tuple[str, Series, Series]]:
    """Doubts about cases that differ only in the batch, each with the next larger one.

    Uneven lengths cost time at equal work, so they are no neighbours of equal ones.
    """
    groups: dict[object, list[Series]] = defaultdict(list)
    for series in timed:
        batch = series.case.batch
        decodes = _threshold(series) >= batch.max_q_len
        spread = (found := shape_of(batch)) and found[1]
        groups[decodes, spread, series.case.without("batch", "threshold")].append(series)
    for group in groups.values():
        for smaller, larger in _ordered(group):
            for doubt in _doubts_about_pair(smaller, larger, machine):
                yield doubt, smaller, larger


def _ordered(group: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Each series with the nearest one that has at least as much of everything."""
    ordered = sorted(group, key=_work)
    for at, one in enumerate(ordered):
        larger = (o for o in ordered[at + 1 :] if _contains(o.case.batch, one.case.batch))
        if (nearest := next(larger, None)) is not None:
            yield one, nearest


def _doubts_about_pair(smaller: Series, larger: Series, machine: Machine) -> Iterator[str]:
    before, after = smaller.time or 0.0, larger.time or 0.0
    doubled = _work(larger) >= 2 * _work(smaller)
    if doubled and after < _LEAST_FALL * before:
        yield "time falls while work doubles"
    parts = [roofline_fraction(each, machine) for each in (smaller, larger)]
    near = _work(larger) <= 2.5 * _work(smaller)
    if near and before > _FLOOR and all(parts):
        low, high = sorted(part or 0.0 for part in parts)
        if high > _MOST_JUMP * low:
            yield "efficiency jumps between neighbours"


def _threshold(series: Series) -> int:
    return int(series.case.knob("threshold") or 0)


def _work(series: Series) -> float:
    """Useful FLOP, or bytes if there are none."""
    return series.timed[0].outcome.flops or series.timed[0].outcome.bytes


def _contains(larger: Batch, smaller: Batch) -> bool:
    """Whether a batch has as much of everything: requests, new tokens, tokens in the cache."""
    return (
        len(larger) >= len(smaller)
        and larger.max_q_len >= smaller.max_q_len
        and larger.max_kv_len >= smaller.max_kv_len
    )
