"""What vLLM's own choice loses against the best of each workload.

`auto` ran by itself, or it was measured as the backend it stands for; both name what was selected.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.ranking import AUTO, NoiseOf, Ranking, regrets
from attnbench.analysis.series import Series, Times
from attnbench.analysis.tuning import Contender, Setting
from attnbench.analysis.verdict import Comparison
from attnbench.specs.case import Case

SELECTED = "selected"  # the resolved setting that names it


@dataclass(frozen=True, slots=True)
class Choice:
    """vLLM's choice for a workload, beside at least one other contender."""

    ranking: Ranking
    contender: Contender
    selected: str  # the backend
    regret: Comparison | None  # its time over the cross-fitted best's; None if unknown


def stands_for_another(series: Series) -> bool:
    """Whether it was not measured, as its run measures what it stands for."""
    return any(SELECTED in each.outcome.resolved for each in series.failures)


def choices(
    rankings: Sequence[Ranking], listed: Iterable[Series], noise: NoiseOf
) -> list[Choice | None]:
    """vLLM's choice in each ranking; None where it is unknown or nothing is beside it."""
    selected = _selected(listed)
    found = [_chosen(ranking, selected) for ranking in rankings]
    groups = [_settings(r, each) if each else {} for r, each in zip(rankings, found, strict=True)]

    def noise_at(at: int, cell: Cell) -> Noise:
        chosen = found[at]
        assert chosen is not None
        return noise(chosen.series, cell)

    return [
        Choice(ranking, each, selected[each.series.case], regret) if each else None
        for ranking, each, regret in zip(rankings, found, regrets(groups, noise_at), strict=True)
    ]


def _selected(listed: Iterable[Series]) -> dict[Case, str]:
    """The cases that are vLLM's choice, each with the name of the backend."""
    found: dict[Case, str] = {}
    for series in listed:
        if SELECTED in series.resolved:
            found[series.case] = str(series.resolved[SELECTED])
        for each in series.failures:
            if name := each.outcome.resolved.get(SELECTED):
                found[replace(series.case, backend=str(name))] = str(name)
    return found


def _chosen(ranking: Ranking, selected: Mapping[Case, str]) -> Contender | None:
    """A contender at the best of several settings is nobody's choice."""
    if ranking.outcome == "alone":
        return None
    plain = (s.contender for s in ranking.standings if s.contender.num_settings == 1)
    return next((each for each in plain if each.series.case in selected), None)


def _settings(ranking: Ranking, chosen: Contender) -> dict[Setting, Times]:
    """The times of all contenders, vLLM's choice as if a knob had been left alone."""
    return {
        AUTO if each.contender is chosen else (("rival", at),): each.contender.times
        for at, each in enumerate(ranking.standings)
    }
