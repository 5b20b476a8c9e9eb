"""From rankings to rules: which implementation for which workloads, and what it gains."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from attnbench.analysis.auto import AutoChoice
from attnbench.analysis.contrast import Contrast, judged
from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.ranking import Place, Ranking
from attnbench.analysis.regions import Region, Spot, regions
from attnbench.analysis.tuning import AS_SERVED, SERVER, Contender
from attnbench.specs.batch import Batch
from attnbench.specs.case import Case, Value

AXES = ("q_len", "batch_size", "kv_len")  # splits by the first are preferred
# Not a choice of the implementation: knobs of the server and of its model, and the threshold, which
# chooses a path.
_APART = (*SERVER, "unpadded", "threshold")
_GOOD: Sequence[Place] = ("best", "quickest", "alone", "tie", "same work")


@dataclass(frozen=True, slots=True)
class Implementation:
    """An implementation with its settings, as a server could choose it."""

    backend: str
    settings: tuple[tuple[str, Value], ...] = ()
    path: str = ""  # decode or prefill where a threshold was swept

    @classmethod
    def of(cls, case: Case) -> "Implementation":
        """The choice that a case measured."""
        given = {"block_size": case.block_size, "layout": case.layout, **dict(case.knobs)}
        kept = {n: v for n, v in given.items() if v is not None and n not in _APART}
        settings = sorted(each for each in kept.items() if each != AS_SERVED)
        threshold, path = case.knob("threshold"), ""
        if threshold is not None:
            path = "decode" if int(threshold) >= case.batch.max_q_len else "prefill"
        return cls(case.backend, tuple(settings), path)

    @property
    def name(self) -> str:
        """For a table."""
        words = [f"{name} {value}" for name, value in self.settings]
        return ", ".join([self.backend, *words, *([f"as {self.path}"] if self.path else [])])


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """A region of workloads with its choice, and its time over the baseline's there."""

    region: Region[Implementation]
    gain: Contrast | None  # None without a common round with the baseline

    @property
    def choice(self) -> Implementation:
        """The implementation."""
        return self.region.choice


@dataclass(frozen=True, slots=True)
class Decision:
    """The rules of one shape and one kind of data."""

    case: Case  # a measured one, for what all share
    batches: tuple[Batch, ...]
    rules: tuple[DecisionRule, ...]
    baseline: str  # auto, or the best single choice
    single: Implementation  # the best for all
    num_single: int  # batches of which it has a time
    loss: Contrast | None  # of the single choice against the rules that a server can follow
    contested: int  # measured batches whose rule is neither best nor tied
    failing: int  # measured batches in which a round of the rule's choice failed

    @property
    def measured(self) -> Mapping[str, tuple[int, int]]:
        """The least and the greatest measured value of each axis."""
        places = [place_of(batch) for batch in self.batches]
        return {n: (min(p[n] for p in places), max(p[n] for p in places)) for n in AXES}


def place_of(batch: Batch) -> dict[str, int]:
    """Where a batch is on each axis; of requests that differ the greatest lengths count."""
    return {"q_len": batch.max_q_len, "batch_size": len(batch), "kv_len": batch.max_kv_len}


def decide(
    rankings: Sequence[Ranking],
    autos: Sequence[AutoChoice | None],
    noise: NoiseOf,
    servable: Callable[[Implementation], bool],
    steps: Mapping[str, int],
) -> list[Decision]:
    """A decision for each workload but for its batch, in the order of the first ranking.

    Of choices that tie, one that a server can be set to is taken, then the one with the least time
    over all batches. The single choice is one that a server can be set to, if there is any.
    Batches count by the time of their `steps` with their best; without any, each counts once.
    """
    groups: dict[object, list[tuple[Ranking, AutoChoice | None]]] = {}
    for ranking, auto in zip(rankings, autos, strict=True):
        workload = {**ranking.best.series.case.workload, "batch": ""}
        groups.setdefault(tuple(sorted(workload.items())), []).append((ranking, auto))
    return [_decision(group, noise, servable, steps) for group in groups.values()]


def _decision(
    group: Sequence[tuple[Ranking, AutoChoice | None]],
    noise: NoiseOf,
    servable: Callable[[Implementation], bool],
    steps: Mapping[str, int],
) -> Decision:
    cells = [_Measured.of(ranking, steps) for ranking, _ in group]
    order = sorted(_by_time(cells), key=lambda choice: not servable(choice))
    single = order[0]
    autos = [auto and Implementation.of(auto.contender.series.case) for _, auto in group]
    against = [auto or single for auto in autos]
    found = regions([each.spot for each in cells], AXES, order)
    taken = {id(spot): region.choice for region in found for spot in region.spots}
    chosen = [taken[id(each.spot)] for each in cells]
    followed = [each if servable(each) or not servable(single) else single for each in chosen]
    return Decision(
        case=group[0][0].best.series.case,
        batches=tuple(ranking.best.series.case.batch for ranking, _ in group),
        rules=tuple(DecisionRule(region, _gain(region, cells, against, noise)) for region in found),
        baseline="auto" if all(autos) else single.name,
        single=single,
        num_single=sum(single in each.contenders for each in cells),
        loss=_mean(cells, followed, [single] * len(cells), noise),
        contested=sum(c not in each.spot.good for c, each in zip(chosen, cells, strict=True)),
        failing=sum(each.failed(c) for c, each in zip(chosen, cells, strict=True)),
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    """A ranking's contenders by choice, the fastest of those that are one choice."""

    contenders: Mapping[Implementation, Contender]
    spot: Spot[Implementation]
    weight: float | None  # None where each counts once

    @classmethod
    def of(cls, ranking: Ranking, steps: Mapping[str, int]) -> "_Measured":
        found: dict[Implementation, Contender] = {}
        for each in ranking.standings:
            found.setdefault(Implementation.of(each.contender.series.case), each.contender)
        good_ones = ranking.ahead or ranking.at(*_GOOD)
        good = frozenset(Implementation.of(each.series.case) for each in good_ones)
        batch = ranking.best.series.case.batch
        weight = steps[str(batch)] * ranking.best.seconds if steps else None
        return cls(found, Spot(place_of(batch), good), weight)

    def failed(self, choice: Implementation) -> bool:
        """Whether a choice with a time failed in another round."""
        return choice in self.contenders and bool(self.contenders[choice].series.failures)


def _by_time(cells: Sequence[_Measured]) -> list[Implementation]:
    """All choices: first those measured in most workloads, then the least time over the best's."""
    found: dict[Implementation, list[tuple[float, float]]] = {}
    for each in cells:
        best = min(contender.seconds for contender in each.contenders.values())
        weight = 1.0 if each.weight is None else each.weight
        for choice, contender in each.contenders.items():
            found.setdefault(choice, []).append((math.log(contender.seconds / best), weight))
    means = {choice: fmean(*zip(*those, strict=True)) for choice, those in found.items()}
    return sorted(found, key=lambda choice: (-len(found[choice]), means[choice]))


def _gain(
    region: Region[Implementation],
    cells: Sequence[_Measured],
    against: Sequence[Implementation],
    noise: NoiseOf,
) -> Contrast | None:
    """The time of the region's choice over the baseline's, in the workloads measured inside."""
    inside = {id(spot) for spot in region.spots}
    pairs = [(c, a) for c, a in zip(cells, against, strict=True) if id(c.spot) in inside]
    own, baseline = [cell for cell, _ in pairs], [choice for _, choice in pairs]
    return _mean(own, baseline, [region.choice] * len(own), noise)


def _mean(
    cells: Sequence[_Measured],
    base: Sequence[Implementation],
    head: Sequence[Implementation],
    noise: NoiseOf,
) -> Contrast | None:
    """The geometric mean of head over base, where both were measured in common rounds."""
    sides = zip(cells, base, head, strict=True)
    found = [(cell.contenders.get(b), cell.contenders.get(h)) for cell, b, h in sides]
    compared = judged([(b, h) for b, h in found if b and h], noise)
    by_head = {id(h): cell.weight for cell, (_, h) in zip(cells, found, strict=True)}
    weights = [weight for each in compared if (weight := by_head[id(each.head)]) is not None]
    return Contrast.of(compared, weights) if compared else None
