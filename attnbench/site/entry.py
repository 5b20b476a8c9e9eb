"""The facts of a case's history that lists, regressions and the feed show; kept between builds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from attnbench.analysis.fields import Fields, batch_text, method_text, requested
from attnbench.analysis.steps import Step
from attnbench.results.differences import differences
from attnbench.results.history import History
from attnbench.specs.case import Value

_POINTS = 60  # of a sparkline, at most


@dataclass(frozen=True, slots=True)
class StepEntry:
    """A step; ratios are of times, after over before, with their 95 % interval."""

    version: str
    before: str
    started: str  # of the first run that has it, ISO 8601 in UTC
    ratio: float
    low: float
    high: float
    q: float  # among the steps of its case
    sessions: int
    differs: Sequence[str]  # between the runs before and after, the source included


@dataclass(frozen=True, slots=True)
class SiteEntry:
    """One history in brief; a page holds those of a case on GPUs of one name."""

    page: str  # the file's name without its suffix
    gpu: str
    family: str
    batch: str
    sizes: tuple[int, int, int]  # requests, tokens and KV tokens of the batch
    fields: Mapping[str, Value]  # requested, by name
    set_fields: Sequence[str]  # names of those that are not at their default
    method: str
    versions: int
    latest: float  # seconds per call of the newest version
    points: Sequence[tuple[str, float]]  # start and time of versions, at most 60
    steps: Sequence[StepEntry]

    @classmethod
    def of(cls, history: History, steps: Sequence[Step], page: str) -> Self:
        """The entry of a history."""
        case, first = history.case, history.series.first
        listed = [(started_of(history, at), each.time) for at, each in enumerate(history.versions)]
        places = np.linspace(0, len(listed) - 1, min(_POINTS, len(listed))).round().astype(int)
        return cls(
            page,
            first.machine_name,
            case.family,
            batch_text(case),
            (len(case.batch), case.batch.num_tokens, case.batch.num_kv_tokens),
            requested(case),
            list(Fields.of([case]).constant),
            method_text(first.method),
            len(listed),
            listed[-1][1],
            [listed[place] for place in places.tolist()],
            [_step(history, step) for step in steps],
        )

    def as_facts(self) -> dict[str, Any]:
        """Every fact by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of `as_facts`."""
        steps = [StepEntry(**each) for each in facts["steps"]]
        return cls(**{**facts, "steps": steps, "sizes": tuple(facts["sizes"])})

    @property
    def title(self) -> str:
        """The backend and the batch."""
        return f"{self.fields['backend']} {self.batch}"


def started_of(history: History, at: int) -> str:
    """When the first run of a version started, ISO 8601 in UTC."""
    return f"{history.versions[at].runs[0].started:%Y-%m-%dT%H:%M:%SZ}"


def _step(history: History, step: Step) -> StepEntry:
    before, version = history.names[step.at - 1 : step.at + 1]
    started = started_of(history, step.at)
    sides = history.versions[step.at - 1].runs[-1], history.versions[step.at].runs[0]
    figures = (step.ratio, step.low, step.high, step.q, step.sessions)
    return StepEntry(version, before, started, *figures, differences(*sides))
