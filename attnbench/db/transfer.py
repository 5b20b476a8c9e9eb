"""Copying runs between databases without duplicates, by UUID."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select
from sqlalchemy.orm import Session

from attnbench.db.engine import back_up, make_engine, parse_target, sqlite_file
from attnbench.db.keyed import find_or_add
from attnbench.db.migrations import State, read_state, require_place
from attnbench.db.models import (
    CaseRow,
    ConclusionRow,
    EnvironmentRow,
    Keyed,
    MachineRow,
    MeasurementRow,
    MethodRow,
    NoiseRow,
    RunRow,
    SampleRow,
    SentinelRow,
    SourceRow,
)
from attnbench.db.queries import batched
from attnbench.db.store import Store
from attnbench.passwords import without_password
from attnbench.records import Transfer

_BATCH = 200  # measurements whose samples are in memory at once


def export(
    store: Store, runs: Collection[int], target: str | Path, *, samples: bool = True
) -> Transfer:
    """Copy runs to another database, created if missing; repeated, it adds only what is missing.

    Each run is one transaction, so a killed export continues with the run it was at. Stored noise
    of all devices is copied too: verdicts depend on it.
    """
    with Store.open(target, revisions=store.revisions) as other:
        return _carry(store, other, [store.run(number).number for number in runs], samples)


def merge(store: Store, others: Sequence[str | Path]) -> list[Transfer]:
    """Add all runs of other databases; one Transfer for each. The other files do not change.

    A run that is already here gets its missing outcomes and keeps its label.
    """
    transfers = []
    for target in others:
        with _opened(target, store) as other:
            numbers = [run.number for run in other.runs()]
            transfers.append(_carry(other, store, numbers, samples=True))
    return transfers


@contextmanager
def _opened(target: str | Path, store: Store) -> Iterator[Store]:
    """The other database, or a migrated copy if it is a file of an older schema."""
    url = parse_target(target)
    require_place(url, create=False)
    engine = make_engine(url)
    path = sqlite_file(url) if read_state(engine, store.revisions) is State.OLDER else None
    engine.dispose()
    with TemporaryDirectory() as folder:
        if path:
            target = Path(folder, path.name)
            back_up(path, target)
        with Store.open(
            target, create=False, note=lambda _: None, revisions=store.revisions
        ) as other:
            yield other


def _carry(origin: Store, target: Store, runs: Sequence[int], samples: bool) -> Transfer:
    numbers, counts = {}, Counter[str]()
    for number in runs:
        with origin.reading() as there, target.writing() as here:
            carrier = _Carrier(there, here)
            run = carrier.carry_run(number)
            carrier.carry_sentinels(number, run)
            carrier.carry_conclusion(number, run)
            ids = carrier.carry_measurements(number, run)
            if samples:
                carrier.carry_samples(ids)
            numbers[number] = run
            counts += carrier.counts
    noise = _carry_noise(origin, target)
    return Transfer(numbers, counts["runs"], counts["measurements"], counts["samples"], noise)


def _carry_noise(origin: Store, target: Store) -> int:
    with origin.reading() as there, target.writing() as here:
        held = set(here.scalars(select(NoiseRow.uuid)))
        rows = there.scalars(select(NoiseRow).where(NoiseRow.uuid.not_in(held))).all()
        here.add_all(map(replace, rows))
        return len(rows)


class _Carrier:
    """Copies missing rows from the session `there` to `here`, under new ids."""

    def __init__(self, there: Session, here: Session) -> None:
        self._there, self._here = there, here
        self._ids: dict[tuple[type[Keyed], int], int] = {}
        self.counts = Counter[str]()

    def carry_run(self, number: int) -> int:
        """Copy the run or update how it ended; returns its number here."""
        run = self._there.get_one(RunRow, number)
        mine = self._here.scalar(select(RunRow).where(RunRow.uuid == run.uuid))
        if mine is None:
            mine = replace(
                run,
                argv=[without_password(word) for word in run.argv],
                machine_id=self._shared(MachineRow, run.machine_id),
                environment_id=self._shared(EnvironmentRow, run.environment_id),
                source_id=self._shared(SourceRow, run.source_id),
            )
            self._here.add(mine)
            self._here.flush()
            self.counts["runs"] += 1
        elif run.finished and (mine.finished is None or mine.finished < run.finished):
            mine.status, mine.finished = run.status, run.finished
        return mine.number

    def carry_sentinels(self, number: int, run: int) -> None:
        """Copy the sentinels' facts of the run's start and end.

        If the run ended at another time here, its end here stays.
        """
        mine = self._here.get_one(RunRow, run)
        theirs = self._there.get_one(RunRow, number)
        held = set(self._here.scalars(select(SentinelRow.moment).where(SentinelRow.run == run)))
        for row in self._there.scalars(select(SentinelRow).where(SentinelRow.run == number)):
            if row.moment not in held or mine.finished == theirs.finished:
                self._here.merge(replace(row, run=run))

    def carry_conclusion(self, number: int, run: int) -> None:
        """Copy the conclusion, unless the one here is newer."""
        theirs = self._there.get(ConclusionRow, number)
        mine = self._here.get(ConclusionRow, run)
        if theirs is not None and (mine is None or mine.created < theirs.created):
            self._here.merge(replace(theirs, run=run))

    def carry_measurements(self, number: int, run: int) -> dict[int, int]:
        """Copy outcomes; returns ids there to ids here of all that both now have."""
        theirs, mine = _ids(self._there, number), _ids(self._here, run)
        missing = [id for uuid, id in theirs.items() if uuid not in mine]
        new = self._copies(missing, run)
        self._here.add_all(new.values())
        self._here.flush()
        self.counts["measurements"] += len(new)
        held = {id: mine[uuid] for uuid, id in theirs.items() if uuid in mine}
        return held | {id: row.id for id, row in new.items()}

    def _copies(self, ids: Sequence[int], run: int) -> dict[int, MeasurementRow]:
        """Copies of the rows with these ids, without those whose place is taken here.

        Two copies of a run may have been resumed separately: existing outcomes stay.
        """
        places = (MeasurementRow.case_id, MeasurementRow.method_id, MeasurementRow.round)
        here = select(*places).where(MeasurementRow.run == run)
        taken = set(self._here.execute(here))
        copies = {}
        for some in batched(ids, _BATCH):
            query = select(MeasurementRow).where(MeasurementRow.id.in_(some))
            for row in self._there.scalars(query):
                case_id = self._shared(CaseRow, row.case_id)
                method_id = self._shared(MethodRow, row.method_id)
                if (case_id, method_id, row.round) not in taken:
                    copies[row.id] = replace(row, run=run, case_id=case_id, method_id=method_id)
        return copies

    def carry_samples(self, ids: Mapping[int, int]) -> None:
        """Copy the samples of outcomes that have them there and not here."""
        for some in batched(sorted(ids), _BATCH):
            mine = [ids[id] for id in some]
            query = select(SampleRow.measurement_id).where(SampleRow.measurement_id.in_(mine))
            stored = set(self._here.scalars(query))
            wanted = [id for id in some if ids[id] not in stored]
            for row in self._there.scalars(
                select(SampleRow).where(SampleRow.measurement_id.in_(wanted))
            ):
                self._here.add(replace(row, measurement_id=ids[row.measurement_id]))
                self.counts["samples"] += 1
            self._here.flush()

    def _shared(self, kind: type[Keyed], id: int) -> int:
        """The id here of a row with a key."""
        if (kind, id) not in self._ids:
            row = replace(self._there.get_one(kind, id))
            self._ids[kind, id] = find_or_add(self._here, row)
        return self._ids[kind, id]


def _ids(session: Session, run: int) -> dict[str, int]:
    """The ids of a run's outcomes by UUID."""
    query = select(MeasurementRow.uuid, MeasurementRow.id).where(MeasurementRow.run == run)
    return dict(session.execute(query).all())
