"""One contender for all parts of a sum, or one for each kind of part."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from attnbench.analysis.compare import compare_estimates
from attnbench.analysis.ranking import may_be_best
from attnbench.analysis.series import Times
from attnbench.analysis.tuning import Round, Setting, best_setting
from attnbench.analysis.verdict import Comparison
from attnbench.analysis.weighted import WeightedSum, log_ratio


@dataclass(frozen=True, slots=True)
class Part:
    """Work that is done so many times, and each contender's times of it; empty if it has none."""

    kind: str
    weight: float
    times: Mapping[str, Times]


@dataclass(frozen=True, slots=True)
class Single:
    """A contender that has all parts, and its sum over the best's; None for the best."""

    name: str
    sum: WeightedSum  # over all its rounds
    comparison: Comparison | None = None  # over the rounds that both have
    is_partial: bool = False  # whether these are fewer than either has


@dataclass(frozen=True, slots=True)
class KindChoice:
    """The best contender for the parts of one kind.

    No round chooses the contender whose time counts in it: `times` by part are those of the choice
    by the other rounds. `comparison` is against the best single one; None if that is chosen.
    """

    kind: str
    name: str
    times: Sequence[Times]
    comparison: Comparison | None = None

    @property
    def is_worth(self) -> bool:
        """Whether it is shown to be faster than the single one in this kind."""
        return self.comparison is not None and self.comparison.verdict == "faster"


def sum_of(parts: Sequence[Part], name: str) -> WeightedSum | None:
    """A contender's sum over the rounds that all parts have; None without any."""
    if rounds := _rounds(parts, name):
        return _sum([part.times[name] for part in parts], parts, rounds)
    return None


def singles(
    parts: Sequence[Part],
    names: Sequence[str],
    candidates: Collection[str] = (),
    failing: Collection[str] = (),
) -> list[Single]:
    """The contenders that have all parts, the best first, then from fast to slow against it.

    Candidates come before others; those that share no round with the best are left out. The best is
    found as in a ranking, in which a contender is not the best by one round if two have several, or
    if it is `failing`, that is, if another of its rounds failed.
    """
    found = [Single(name, total) for name in names if (total := sum_of(parts, name))]
    if not found:
        return []
    best = _best(parts, [s for s in found if s.name in candidates] or found, failing)
    others = [s for s in found if s is not best and _shared(parts, best.name, s.name)]
    others.sort(key=lambda each: (each.name not in candidates, _over(parts, best, each)))
    estimates = [log_ratio(*_paired(parts, best.name, each.name)) for each in others]
    compared = compare_estimates([each.name for each in others], estimates)
    return [
        best,
        *(
            Single(each.name, each.sum, comparison, _is_partial(parts, best.name, each.name))
            for each, comparison in zip(others, compared, strict=True)
        ),
    ]


def choices(parts: Sequence[Part], names: Sequence[str], single: str) -> list[KindChoice]:
    """The best contender of each kind, compared in the rounds of the single one."""
    rounds = _rounds(parts, single)
    found = [_choice(kind, of_kind(parts, kind), names, rounds) for kind in kinds(parts)]
    others = [each for each in found if each.name != single]
    estimates = [
        log_ratio(*_sides(of_kind(parts, each.kind), single, each.times, rounds)) for each in others
    ]
    compared = compare_estimates([each.kind for each in others], estimates)
    by_kind = {each.key: each for each in compared}
    return [KindChoice(e.kind, e.name, e.times, by_kind.get(e.kind)) for e in found]


def gain(parts: Sequence[Part], single: str, chosen: Sequence[KindChoice]) -> Comparison:
    """The sum with the choices that are worth it, over that of the single contender."""
    rounds = _rounds(parts, single)
    worth = {each.kind: iter(each.times) for each in chosen if each.is_worth}
    times = [next(worth[part.kind]) if part.kind in worth else part.times[single] for part in parts]
    (found,) = compare_estimates(["policy"], [log_ratio(*_sides(parts, single, times, rounds))])
    return found


def kinds(parts: Sequence[Part]) -> list[str]:
    """The kinds that occur, in order."""
    return list(dict.fromkeys(part.kind for part in parts))


def of_kind(parts: Sequence[Part], kind: str) -> list[Part]:
    """The parts of one kind."""
    return [part for part in parts if part.kind == kind]


def _choice(
    kind: str, parts: Sequence[Part], names: Sequence[str], rounds: set[Round]
) -> KindChoice:
    settings: dict[Setting, Times] = {
        (("name", name),): _totals(parts, name, rounds)
        for name in names
        if rounds <= _rounds(parts, name)
    }

    def best(some: set[Round]) -> str:
        return str(best_setting(settings, some)[0][1])

    chosen = {at: best(rounds - {at} or rounds) for at in rounds}
    times = [{at: part.times[chosen[at]][at] for at in rounds} for part in parts]
    return KindChoice(kind, best(rounds), times)


def _totals(parts: Sequence[Part], name: str, rounds: set[Round]) -> Times:
    return {at: sum(part.weight * part.times[name][at] for part in parts) for at in rounds}


def _rounds(parts: Sequence[Part], name: str) -> set[Round]:
    return set.intersection(*(set(part.times.get(name, {})) for part in parts))


def _paired(parts: Sequence[Part], base: str, head: str) -> tuple[WeightedSum, WeightedSum]:
    """The sums of two contenders over their common rounds."""
    times = [part.times[head] for part in parts]
    return _sides(parts, base, times, _shared(parts, base, head))


def _best(parts: Sequence[Part], found: Sequence[Single], failing: Collection[str]) -> Single:
    able = may_be_best(
        found, lambda each: each.sum.logs.shape[1], lambda each: each.name in failing
    )
    quickest = min(able, key=lambda each: each.sum.seconds)
    return min((quickest, *able), key=lambda each: _over(parts, quickest, each))


def _shared(parts: Sequence[Part], base: str, head: str) -> set[Round]:
    return _rounds(parts, base) & _rounds(parts, head)


def _over(parts: Sequence[Part], base: Single, head: Single) -> float:
    """The head's sum over the base's in their common rounds: on a slowing device early ones win."""
    if not _shared(parts, base.name, head.name):
        return head.sum.seconds / base.sum.seconds
    sums = _paired(parts, base.name, head.name)
    return sums[1].seconds / sums[0].seconds


def _is_partial(parts: Sequence[Part], base: str, head: str) -> bool:
    return _rounds(parts, base) != _rounds(parts, head)


def _sides(
    parts: Sequence[Part], base: str, head: Sequence[Times], rounds: set[Round]
) -> tuple[WeightedSum, WeightedSum]:
    return _sum([part.times[base] for part in parts], parts, rounds), _sum(head, parts, rounds)


def _sum(times: Sequence[Times], parts: Sequence[Part], rounds: set[Round]) -> WeightedSum:
    return WeightedSum.of(times, [part.weight for part in parts], rounds)
