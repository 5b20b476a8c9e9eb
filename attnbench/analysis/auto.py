"""What vLLM's own choice loses against the best of each workload.

`auto` ran by itself, or it was measured as the backend it stands for; both name what was selected.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from attnbench.analysis.by_method import by_method
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.ranking import AUTO, Ranking, SeriesNoise
from attnbench.analysis.regret import regrets
from attnbench.analysis.series import Series, Times
from attnbench.analysis.tuning import Contender, Setting
from attnbench.analysis.verdict import Comparison
from attnbench.records import SELECTED
from attnbench.specs.case import Case


@dataclass(frozen=True, slots=True)
class AutoChoice:
    """vLLM's choice for a workload, beside at least one other contender."""

    ranking: Ranking
    contender: Contender
    selected: str  # the backend
    regret: Comparison | None  # its time over the cross-fitted best's; None if unknown


def stands_for_another(series: Series) -> bool:
    """Whether it was not measured, as its run measures what it stands for."""
    return any(SELECTED in each.outcome.resolved for each in series.failures)


def choices(
    rankings: Sequence[Ranking], listed: Iterable[Series], noise: SeriesNoise
) -> list[AutoChoice | None]:
    """vLLM's choice in each ranking; None where it is unknown or nothing is beside it."""
    selected = _selected(listed)
    found = [(ranking, _chosen(ranking, selected)) for ranking in rankings]
    methods = [each.best.series.first.method_key for each in rankings]
    return by_method(found, methods, lambda alike: _choices(alike, noise))


def _choices(
    found: Sequence[tuple[Ranking, tuple[Contender, str] | None]], noise: SeriesNoise
) -> list[AutoChoice | None]:
    """The same of rankings by one method with the contender that vLLM chose, and its name."""
    groups = [_settings(ranking, each[0]) if each else {} for ranking, each in found]

    def noise_at(at: int, cell: Cell) -> Noise:
        _, chosen = found[at]
        assert chosen is not None
        return noise(chosen[0].series, cell)

    return [
        AutoChoice(ranking, *each, regret) if each else None
        for (ranking, each), regret in zip(found, regrets(groups, noise_at), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Selected:
    """A case of auto, and what vLLM took for it."""

    case: Case
    name: str
    ran: bool  # by itself

    def is_of(self, case: Case) -> bool:
        """Whether a case is what ran: a backend's own leaves out knobs that it does not have."""
        if self.ran:
            return case == self.case
        alike = replace(case, backend=self.case.backend, knobs=()) == replace(self.case, knobs=())
        return case.backend == self.name and set(case.knobs) <= set(self.case.knobs) and alike


def _selected(listed: Iterable[Series]) -> dict[str, list[_Selected]]:
    """What vLLM took, by workload."""
    found: dict[str, list[_Selected]] = {}
    for series in listed:
        for each in series.rounds:
            if name := each.outcome.resolved.get(SELECTED):
                chosen = _Selected(series.case, str(name), bool(series.timed))
                found.setdefault(each.workload_key, []).append(chosen)
                break
    return found


def _chosen(
    ranking: Ranking, selected: Mapping[str, Sequence[_Selected]]
) -> tuple[Contender, str] | None:
    """A contender at the best of several settings is nobody's choice."""
    taken = selected.get(ranking.best.series.first.workload_key, ())
    if not taken or ranking.outcome == "alone":
        return None
    plain = [s.contender for s in ranking.standings if s.contender.num_settings == 1]
    found = ((c, each.name) for each in taken for c in plain if each.is_of(c.series.case))
    return next(found, None)


def _settings(ranking: Ranking, chosen: Contender) -> dict[Setting, Times]:
    """The times of all contenders, vLLM's choice as if a knob had been left alone."""
    return {
        AUTO if each.contender is chosen else (("rival", at),): each.contender.times
        for at, each in enumerate(ranking.standings)
    }
