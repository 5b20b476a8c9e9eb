"""The steps of a trace as parts of a sum, each with the times of all backends."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from attnbench.analysis.decision import Implementation
from attnbench.analysis.policy import KindChoice, Part, Single, choices, singles
from attnbench.analysis.series import Series
from attnbench.analysis.tuning import Contender
from attnbench.records import SELECTED
from attnbench.studies.serving import serving
from attnbench.studies.traffic import TrafficAnalysis

Names = Mapping[int, str]  # of contenders, by id of the series


@dataclass(frozen=True)
class Service:
    """One workload. A part's time is in seconds of all layers per million tokens."""

    title: str  # what tells it from the study's other workloads; usually empty
    asked: TrafficAnalysis
    series: Mapping[str, Mapping[str, Series]]  # by contender and batch
    parts: Sequence[Part]  # one for each stratum
    taken: str | None = None  # the backend that vLLM takes by itself, if the study asked for it

    @classmethod
    def of(cls, title: str, listed: Sequence[Series], asked: TrafficAnalysis) -> Self:
        """The service whose batches these series have measured.

        A series that is measured as another backend's is no contender of its own.
        """
        taken = next(filter(None, map(_selected, listed)), None)
        listed = [each for each in listed if each.timed or not _selected(each)]
        found: dict[str, dict[str, Series]] = {}
        for each, name in zip(listed, _names(listed), strict=True):
            found.setdefault(name, {})[str(each.case.batch)] = each
        scale = asked.layers * 1e6 / asked.tokens
        parts = [
            Part(
                stratum.kind,
                scale * stratum.steps,
                {n: by[stratum.batch].times for n, by in found.items() if stratum.batch in by},
            )
            for stratum in asked.strata
        ]
        return cls(title, asked, found, parts, taken)

    @property
    def work(self) -> str:
        """What is timed."""
        scopes = {each.case.scope for by in self.series.values() for each in by.values()}
        return "attention at scope layer" if scopes == {"layer"} else "attention"

    @property
    def automatic(self) -> Single | None:
        """The sum of what vLLM takes by itself: of auto, or of the backend that it stands for."""
        by_name = {each.name: each for each in self.ranked}
        return by_name.get("auto") or by_name.get(self.taken or "")

    @property
    def names(self) -> list[str]:
        """All contenders."""
        return list(self.series)

    @cached_property
    def candidates(self) -> list[str]:
        """The contenders that vLLM's server can be set to; all if there is none."""
        cases = {name: next(iter(by.values())).case for name, by in self.series.items()}
        served = [n for n, case in cases.items() if serving(case.family, Implementation.of(case))]
        return served or self.names

    @property
    def failing(self) -> list[str]:
        """The contenders of which a round failed."""
        return [n for n, by in self.series.items() if any(each.failures for each in by.values())]

    @cached_property
    def ranked(self) -> list[Single]:
        """The contenders that have a time of every batch, from fast to slow, candidates first."""
        return singles(self.parts, self.names, self.candidates, self.failing)

    @cached_property
    def chosen(self) -> list[KindChoice]:
        """The best of each kind of step; none without a contender for all of them."""
        if not self.ranked:
            return []
        single = self.ranked[0].name
        names = self.candidates if single in self.candidates else self.names
        return choices(self.parts, names, single)

    def missing(self, name: str) -> list[int]:
        """The places of the strata of which a contender has no time."""
        return [at for at, part in enumerate(self.parts) if not part.times.get(name)]


def _selected(series: Series) -> str | None:
    """The backend that a series of `auto` stands for."""
    return str(series.first.outcome.resolved.get(SELECTED, "")) or None


def _names(listed: Sequence[Series]) -> list[str]:
    """Backends, with their settings where several of one differ in them."""
    names = [Contender.of(each).name for each in listed]
    backends = Counter(
        dict(zip(names, (each.case.backend for each in listed), strict=True)).values()
    )
    return [
        name if backends[each.case.backend] > 1 else each.case.backend
        for name, each in zip(names, listed, strict=True)
    ]
