"""The cost of requests of different lengths, against equal ones with the same total work."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attnbench.analysis.contrast import Contrast, Judged, judged
from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.ragged import shape_of
from attnbench.analysis.ranking import rank
from attnbench.analysis.series import Series
from attnbench.analysis.tuning import Contender, tuned
from attnbench.analysis.verdict import Verdict
from attnbench.reporting.ranking import change_with_interval, counts
from attnbench.specs.ragged import SPREADS, Spread
from attnbench.studies.answers.base import (
    NOT_ANSWERED,
    Answer,
    Table,
    not_answered,
    what_auto_loses,
)
from attnbench.studies.charts import Heat
from attnbench.units import MISSING, change_in_percent, seconds_column

Costs = Mapping[Spread, Sequence[Judged]]
_VERDICTS: Sequence[Verdict] = ("slower", "same", "faster", "unclear")


def answer(listed: Sequence[Series], noise: NoiseOf) -> Answer:
    """A line and a row of the map per backend and kind of batch, a row per shape."""
    if sentence := not_answered(listed):
        return Answer([sentence])
    timed = tuned(listed, ())
    costs: Costs = {spread: judged(_pairs(timed, spread), noise) for spread in SPREADS}
    if not any(costs.values()):
        return Answer([f"{NOT_ANSWERED}no shape has a time of equal and of ragged requests"])
    names = dict.fromkeys(_name(cell.base) for cells in costs.values() for cell in cells)
    by_name = {
        name: {s: [c for c in cells if _name(c.base) == name] for s, cells in costs.items()}
        for name in names
    }
    lines = [line for name, own in by_name.items() for line in _lines(name, own)]
    lines += [*_winners(timed, noise), *what_auto_loses(listed, noise)]
    return Answer(lines, [_table(costs)], [_map(by_name)])


def _pairs(timed: Sequence[Contender], spread: Spread) -> Iterator[tuple[Contender, Contender]]:
    """Equal requests, and requests so spread, that are alike in all else."""
    equal, ragged = ({_rest(e): e for e in timed if _spread(e) == s} for s in (None, spread))
    for key, base in equal.items():
        if key in ragged:
            yield base, ragged[key]


def _rest(contender: Contender) -> object:
    found = shape_of(contender.case.batch)
    return contender.case.without("batch"), found and found[0], contender.series.cache_state


def _spread(contender: Contender) -> Spread | str | None:
    found = shape_of(contender.case.batch)
    return found[1] if found else ""


def _name(contender: Contender) -> str:
    q_len = contender.case.batch.max_q_len
    return f"{contender.name}, {'decode' if q_len == 1 else f'chunks of {q_len}'}"


def _lines(name: str, costs: Costs) -> Iterator[str]:
    """The mean cost of each spread, and the largest that is outside noise."""
    known = [(spread, cells) for spread, cells in costs.items() if cells]
    parts = [
        f"{s} {change_with_interval(Contrast.of(cells))} ({_often(cells)})" for s, cells in known
    ]
    yield f"{name}: against equal requests {'; '.join(parts)}"
    slower = [c for _, cells in known for c in cells if c.comparison.verdict == "slower"]
    if slower:
        worst = max(slower, key=lambda each: each.comparison.ratio)
        yield f"{name} loses most at {_spec(worst)}: {change_with_interval(worst.comparison)}"


def _often(cells: Sequence[Judged]) -> str:
    found = Counter(each.comparison.verdict for each in cells)
    return ", ".join(f"{found[v]} {v}" for v in _VERDICTS if found[v])


def _spec(cell: Judged) -> str:
    found = shape_of(cell.head.case.batch)
    assert found is not None
    return found[0].spec(found[1])


def _winners(timed: Sequence[Contender], noise: NoiseOf) -> Iterator[str]:
    """The best of equal requests and of each spread."""
    rankings = [r for r in rank(timed, lambda _, cell: noise(cell)) if r.outcome != "alone"]
    for spread in (None, *SPREADS):
        own = [each for each in rankings if _spread(each.best) == spread]
        for line in counts(own, lambda each: each.case.backend):
            yield f"{spread or 'equal requests'}: {line}"


def _table(costs: Costs) -> Table:
    rows = {id(cell.base): cell.base for cells in costs.values() for cell in cells}
    found = {(id(cell.base), spread): cell for spread, cells in costs.items() for cell in cells}
    shapes = [shape_of(base.case.batch) for base in rows.values()]
    unit, times = seconds_column([base.seconds for base in rows.values()])
    columns: dict[str, Sequence[str]] = {
        "backend": [base.name for base in rows.values()],
        "equal requests": [shape[0].spec() if shape else MISSING for shape in shapes],
        unit: times,
    }
    for spread in SPREADS:
        cells = [found.get((key, spread)) for key in rows]
        columns[spread] = [change_with_interval(c.comparison) if c else MISSING for c in cells]
    return Table("Time of ragged requests over that of equal ones with as many tokens", columns)


def _map(by_name: Mapping[str, Costs]) -> Heat:
    """A row per backend and kind of batch, a column per spread."""
    means = [
        [Contrast.of(cells) if cells else None for cells in own.values()]
        for own in by_name.values()
    ]
    return Heat(
        "Time of ragged over equal requests",
        "spread of the lengths",
        "backend",
        list(SPREADS),
        list(by_name),
        [[_text(each) for each in row] for row in means],
        [[_colour(each) for each in row] for row in means],
        "and change of time at equal work, %",
    )


def _text(mean: Contrast | None) -> str:
    if mean is None:
        return ""
    words = {"unclear": "\nunclear", "same": "\nsame"}.get(mean.verdict, "")
    return f"{change_in_percent(mean.ratio)} %{words}"


def _colour(mean: Contrast | None) -> float | None:
    return None if mean is None else 100 * (mean.ratio - 1)
