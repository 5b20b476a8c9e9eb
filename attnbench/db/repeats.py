"""Sessions in which equal code was measured again, on cards of one model."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import func, not_, select
from sqlalchemy.orm import Session

from attnbench.db.models import CaseRow, MachineRow, MeasurementRow, MethodRow, RunRow
from attnbench.db.queries import NEWEST_FIRST
from attnbench.labels import regime_of
from attnbench.run_label import BISECTED

# Older runs than so many tell little of how a machine is today.
_MOST_RUNS = 60


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A run, or a card's part of it, that may be compared with others of its kind."""

    run: int
    command: str
    source: int
    environment: int
    machine: int  # with its settings
    card: str
    turns: str | None  # the mark that runs share which took turns with each other

    @property
    def session(self) -> str:
        """Runs that took turns were one session."""
        return self.turns or str(self.run)

    @property
    def code(self) -> tuple[int, int]:
        """What equal code shares."""
        return self.source, self.environment


@dataclass(frozen=True, slots=True)
class RepeatedRounds:
    """A case by one method and in one regime in a run: the median of each round, seconds."""

    row: SessionRow
    family: str
    case: str
    method: str
    regime: str
    rounds: tuple[float, ...]
    clocks: tuple[float | None, ...]  # the SM clock of each round's samples, Hz, where it is known


def read_sessions(session: Session, machine_model: str) -> list[SessionRow]:
    """The newest runs on cards of that model, each of their cards by itself.

    Without those of a bisection: it repeats a commit because its rounds were noisy, which says
    nothing of how noisy others are.
    """
    query = (
        select(
            RunRow.number,
            RunRow.command,
            RunRow.source_id,
            RunRow.environment_id,
            RunRow.machine_id,
            MachineRow.machine_key,
            RunRow.plan["interleaved"].as_string(),
        )
        .join_from(RunRow, MachineRow)
        .where(MachineRow.model_key == machine_model)
        .where(not_(func.coalesce(RunRow.label, "").startswith(BISECTED)))
        .order_by(*NEWEST_FIRST)
        .limit(_MOST_RUNS)
    )
    runs = [SessionRow(*row) for row in session.execute(query)]
    others = _other_cards(session, [row.run for row in runs])
    return [each for row in runs for each in (row, *_parts(row, others[row.run]))]


def _other_cards(session: Session, runs: Collection[int]) -> dict[int, dict[int, str]]:
    """By run, the ids and keys of the machines that shared it, without its own."""
    query = (
        select(MeasurementRow.run, MeasurementRow.machine_id, MachineRow.machine_key)
        .join(MachineRow, MeasurementRow.machine_id == MachineRow.id)
        .where(MeasurementRow.run.in_(runs), MeasurementRow.machine_id.is_not(None))
        .distinct()
    )
    found: dict[int, dict[int, str]] = defaultdict(dict)
    for run, machine, key in session.execute(query):
        assert machine is not None
        found[run][machine] = key
    return found


def _parts(row: SessionRow, cards: Mapping[int, str]) -> Iterator[SessionRow]:
    return (replace(row, machine=machine, card=key) for machine, key in cards.items())


def read_rounds(session: Session, rows: Collection[SessionRow]) -> Iterator[RepeatedRounds]:
    """All that has a time in these runs."""
    by_place = {(row.run, row.machine): row for row in rows}
    card = func.coalesce(MeasurementRow.machine_id, RunRow.machine_id)
    query = (
        select(
            MeasurementRow.run,
            card,
            CaseRow.family,
            CaseRow.key,
            MethodRow.key,
            MethodRow.facts,
            MeasurementRow.labels,
            MeasurementRow.median,
            MeasurementRow.guard["sm_clock_hz_median"].as_float(),
        )
        .join(RunRow, MeasurementRow.run == RunRow.number)
        .join(CaseRow, MeasurementRow.case_id == CaseRow.id)
        .join(MethodRow, MeasurementRow.method_id == MethodRow.id)
        .where(MeasurementRow.run.in_({row.run for row in rows}), MeasurementRow.median > 0)
        .where(MeasurementRow.median < math.inf)
        .order_by(MeasurementRow.run, MeasurementRow.round)
    )
    found: dict[tuple[SessionRow, str, str, str, str], list[tuple[float, float | None]]]
    found = defaultdict(list)
    for run, machine, family, case, method, facts, labels, *timed in session.execute(query):
        if row := by_place.get((run, machine)):
            median, clock = timed
            found[row, family, case, method, regime_of(facts, labels)].append((median, clock))
    for (row, family, case, method, regime), listed in found.items():
        rounds, clocks = zip(*listed, strict=True)
        yield RepeatedRounds(row, family, case, method, regime, rounds, clocks)
