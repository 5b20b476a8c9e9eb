"""Copying runs between databases without duplicates, by UUID."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, tuple_
from sqlalchemy.orm import Session

from attnbench.db.base import Base
from attnbench.db.damage import readable
from attnbench.db.destination import filled
from attnbench.db.engine import one_at_a_time, plain_errors
from attnbench.db.keyed import SharedIds, carry_shared
from attnbench.db.models import (
    CaseRow,
    ConclusionRow,
    EnvironmentRow,
    MachineRow,
    MethodRow,
    NoiseRow,
    RunRow,
    SentinelRow,
    SourceRow,
)
from attnbench.db.origin import opened
from attnbench.db.queries import batched
from attnbench.db.store import Store
from attnbench.passwords import without_password
from attnbench.records import Status, Transfer

_BATCH = 200  # outcomes that are in memory at once, with their samples
_OUTCOMES, _SAMPLES = (Base.metadata.tables[name] for name in ("measurement", "sample"))

_Row = Mapping[str, Any]  # the columns of an outcome
Progress = Callable[[int, int], None]  # gets the outcomes done, and all of them


def _unseen(done: int, total: int) -> None:
    """Progress that nobody watches."""


def export(
    store: Store,
    runs: Collection[int],
    target: str | Path,
    *,
    samples: bool = True,
    progress: Progress = _unseen,
) -> Transfer:
    """Copy runs to another database, created if missing; repeated, it adds what is missing.

    Each run is one transaction, so a killed export continues with the run it was at. Stored noise
    of all devices is copied too: verdicts depend on it.
    """
    with filled(target, revisions=store.revisions) as other:
        return _carry(
            store, other, [store.run(number).number for number in runs], samples, progress
        )


def merge(
    store: Store, others: Sequence[str | Path], progress: Progress = _unseen
) -> list[Transfer]:
    """Add all runs of other databases; one Transfer for each. The other files do not change.

    A run that is already here gets its missing outcomes and keeps its label.
    """
    transfers = []
    for target in others:
        with opened(target, store) as other:
            numbers = [run.number for run in other.runs()]
            transfers.append(_carry(other, store, numbers, True, progress))
    return transfers


def _carry(
    origin: Store, target: Store, runs: Sequence[int], samples: bool, progress: Progress
) -> Transfer:
    numbers, counts, done = {}, Counter[str](), 0
    total = sum(sum(run.counts.values()) for run in origin.runs(runs))
    for number in runs:
        with origin.reading() as there:
            with target.writing() as here, _named(origin, number):
                ids = carry_shared(there, here, number)
            with target.writing() as here, _named(origin, number):
                one_at_a_time(here.connection(), "merge")
                carrier = _Carrier(there, here, ids)
                numbers[number] = carrier.carry_run(number)
                for count in carrier.carry_outcomes(number, samples):
                    done += count
                    progress(done, total)
        counts += carrier.counts
    noise = _carry_noise(origin, target)
    return Transfer(
        numbers,
        runs=counts["runs"],
        measurements=counts["measurements"],
        samples=counts["samples"],
        noise=noise,
        replaced=counts["replaced"],
        left_out=counts["left out"],
    )


@contextmanager
def _named(origin: Store, run: int) -> Iterator[None]:
    """Name the origin in errors of what is read: the rows that are written were read first."""
    with plain_errors(origin.engine.url), readable(f"run {run}"):
        yield


def _carry_noise(origin: Store, target: Store) -> int:
    with origin.reading() as there, target.writing() as here:
        held = set(here.scalars(select(NoiseRow.uuid)))
        rows = there.scalars(select(NoiseRow).where(NoiseRow.uuid.not_in(held))).all()
        here.add_all(map(replace, rows))
        return len(rows)


class _Carrier:
    """Copies missing rows of a run from the session `there` to `here`, under new ids."""

    def __init__(self, there: Session, here: Session, ids: SharedIds) -> None:
        self._there, self._here, self._ids = there, here, ids
        self._run = 0
        self.counts = Counter[str]()

    def carry_run(self, number: int) -> int:
        """Copy the run or update how it ended, with all but its outcomes; its number here."""
        run = self._there.get_one(RunRow, number)
        mine = self._here.scalar(select(RunRow).where(RunRow.uuid == run.uuid))
        if mine is None:
            mine = replace(
                run,
                argv=[without_password(word) for word in run.argv],
                machine_id=self._ids[MachineRow][run.machine_id],
                environment_id=self._ids[EnvironmentRow][run.environment_id],
                source_id=self._ids[SourceRow][run.source_id],
            )
            self._here.add(mine)
            self._here.flush()
            self.counts["runs"] += 1
        elif run.finished and (mine.finished is None or mine.finished < run.finished):
            mine.status, mine.finished = run.status, run.finished
        self._run = mine.number
        self._carry_sentinels(number)
        self._carry_conclusion(number)
        return mine.number

    def _carry_sentinels(self, number: int) -> None:
        """Copy the sentinels' facts of the run's start and end.

        If the run ended at another time here, its end here stays.
        """
        run = self._run
        mine = self._here.get_one(RunRow, run)
        theirs = self._there.get_one(RunRow, number)
        held = set(self._here.scalars(select(SentinelRow.moment).where(SentinelRow.run == run)))
        for row in self._there.scalars(select(SentinelRow).where(SentinelRow.run == number)):
            if row.moment not in held or mine.finished == theirs.finished:
                self._here.merge(replace(row, run=run))

    def _carry_conclusion(self, number: int) -> None:
        """Copy the conclusion, unless the one here is newer."""
        theirs = self._there.get(ConclusionRow, number)
        mine = self._here.get(ConclusionRow, self._run)
        if theirs is not None and (mine is None or mine.created < theirs.created):
            self._here.merge(replace(theirs, run=self._run))

    def carry_outcomes(self, number: int, samples: bool) -> Iterator[int]:
        """Copy outcomes and perhaps their samples; yields how many it has looked at.

        Few are in memory at once, however many the run has.
        """
        query = select(_OUTCOMES.c.id).where(_OUTCOMES.c.run == number).order_by(_OUTCOMES.c.id)
        for some in batched(self._there.scalars(query).all(), _BATCH):
            ids = self._carry_batch(some)
            if samples:
                self._carry_samples(ids)
            yield len(some)

    def _carry_batch(self, ids: Sequence[int]) -> dict[int, int]:
        """Copy those of these outcomes that are missing; ids there to ids here of all both have."""
        query = select(_OUTCOMES).where(_OUTCOMES.c.id.in_(ids)).order_by(_OUTCOMES.c.id)
        found = [dict(row) for row in self._there.execute(query).mappings()]
        theirs = {row["uuid"]: row.pop("id") for row in found}
        held = self._held(theirs)
        missing = [self._here_of(row) for row in found if row["uuid"] not in held]
        if new := self._with_room(missing):
            self._here.execute(insert(_OUTCOMES), new)
        self.counts["measurements"] += len(new)
        held |= self._held([row["uuid"] for row in new])
        return {theirs[uuid]: id for uuid, id in held.items()}

    def _with_room(self, rows: Sequence[_Row]) -> list[_Row]:
        """Those that are to be added; the outcomes whose places they take are deleted.

        Copies of a run that were resumed separately, or had rounds measured again, have different
        outcomes of a round: the incorrect one stands, or else the later.
        """
        new, gone, taken = list[_Row](), list[int](), self._taken(rows)
        for row in rows:
            mine = taken.get(_place(row))
            if mine is not None and _standing(mine) >= _standing(row):
                continue
            new.append(row)
            if mine is not None:
                gone.append(mine["id"])
        if gone:
            self._here.execute(delete(_OUTCOMES).where(_OUTCOMES.c.id.in_(gone)))
        self.counts["replaced"] += len(gone)
        self.counts["left out"] += len(rows) - len(new)
        return new

    def _here_of(self, row: dict[str, Any]) -> _Row:
        shared = {
            "case_id": self._ids[CaseRow][row["case_id"]],
            "method_id": self._ids[MethodRow][row["method_id"]],
            "machine_id": row["machine_id"] and self._ids[MachineRow][row["machine_id"]],
        }
        return row | shared | {"run": self._run}

    def _held(self, uuids: Collection[str]) -> dict[str, int]:
        """The ids here of those outcomes that are here."""
        query = select(_OUTCOMES.c.uuid, _OUTCOMES.c.id).where(_OUTCOMES.c.uuid.in_(uuids))
        return dict(self._here.execute(query).all())

    def _taken(self, rows: Sequence[_Row]) -> dict[tuple[int, ...], _Row]:
        """The outcomes here that have their places in the run, by place."""
        place = _OUTCOMES.c.case_id, _OUTCOMES.c.method_id, _OUTCOMES.c.round
        query = select(_OUTCOMES.c.id, _OUTCOMES.c.status, _OUTCOMES.c.stored, *place)
        query = query.where(_OUTCOMES.c.run == self._run)
        query = query.where(tuple_(*place).in_([_place(row) for row in rows]))
        found = map(dict[str, Any], self._here.execute(query).mappings())
        return {_place(row): row for row in found}

    def _carry_samples(self, ids: Mapping[int, int]) -> None:
        """Copy the samples of outcomes that have them there and not here."""
        column = _SAMPLES.c.measurement_id
        stored = set(self._here.scalars(select(column).where(column.in_(ids.values()))))
        wanted = [id for id, mine in ids.items() if mine not in stored]
        found = self._there.execute(select(_SAMPLES).where(column.in_(wanted))).all()
        if found:
            copies = [{"measurement_id": ids[row[0]], "values": row[1]} for row in found]
            self._here.execute(insert(_SAMPLES), copies)
        self.counts["samples"] += len(found)


def _place(row: _Row) -> tuple[int, ...]:
    return row["case_id"], row["method_id"], row["round"]


def _standing(row: _Row) -> tuple[bool, datetime]:
    """The greater of two outcomes of a place stands."""
    return row["status"] == Status.INCORRECT, row["stored"]
