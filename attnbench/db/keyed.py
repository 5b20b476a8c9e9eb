"""Rows shared by many others: each is stored once and found by the hash of its content."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session

from attnbench.db.base import Keyed
from attnbench.db.models import (
    CaseRow,
    EnvironmentRow,
    MachineRow,
    MeasurementRow,
    MethodRow,
    RunRow,
    SourceRow,
)
from attnbench.db.queries import MAX_VALUES, batched

SharedIds = Mapping[type[Keyed], Mapping[int, int]]  # of each table, ids there to ids here


def find_or_add(session: Session, row: Keyed) -> int:
    """The id of the row with this content, added if there is none yet."""
    kind = type(row)
    query = select(kind.id).where(kind.key == row.key)
    if (found := session.scalar(query)) is not None:
        return found
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was first, on a database that takes many writers
        return session.execute(query).scalar_one()
    return row.id


def find_or_add_all(session: Session, rows: Sequence[Keyed]) -> list[int]:
    """The id of each of these rows of one table, with few statements; all have different keys."""
    if not rows:
        return []
    kind, ids = type(rows[0]), dict[str, int]()
    for some in batched([row.key for row in rows], MAX_VALUES):
        ids.update(session.execute(select(kind.key, kind.id).where(kind.key.in_(some))).all())
    missing = [row for row in rows if row.key not in ids]
    try:
        with session.begin_nested():
            session.add_all(missing)
    except IntegrityError:  # another process was first with some of them
        return [find_or_add(session, row) for row in rows]
    ids.update((row.key, row.id) for row in missing)
    return [ids[row.key] for row in rows]


def carry_shared(there: Session, here: Session, run: int) -> SharedIds:
    """Add the rows that a run refers to from the session `there` to `here`.

    All writers add them in one order, by table and then by key: two that wait for each other's
    rows would never end.
    """
    row = there.get_one(RunRow, run)
    wanted: dict[type[Keyed], Collection[int]] = {
        MachineRow: {row.machine_id, *_used(there, run, MeasurementRow.machine_id)},
        EnvironmentRow: [row.environment_id],
        SourceRow: [row.source_id],
        CaseRow: _used(there, run, MeasurementRow.case_id),
        MethodRow: _used(there, run, MeasurementRow.method_id),
    }
    return {kind: _carry_rows(there, here, kind, ids) for kind, ids in wanted.items()}


def _used(session: Session, run: int, column: InstrumentedAttribute[Any]) -> Collection[int]:
    """The ids in a column of the run's outcomes, each once."""
    query = select(column).where(MeasurementRow.run == run, column.is_not(None)).distinct()
    return session.scalars(query).all()


def _carry_rows(
    there: Session, here: Session, kind: type[Keyed], ids: Collection[int]
) -> dict[int, int]:
    """The ids here of the rows with these ids there, which are added where they are missing."""
    found: dict[str, int] = {}
    for some in batched(sorted(ids), MAX_VALUES):
        found.update(there.execute(select(kind.key, kind.id).where(kind.id.in_(some))).all())
    carried = {}
    for keys in batched(sorted(found), MAX_VALUES):
        held = dict(here.execute(select(kind.key, kind.id).where(kind.key.in_(keys))).all())
        for key in keys:
            if key not in held:
                held[key] = find_or_add(here, replace(there.get_one(kind, found[key])))
            carried[found[key]] = held[key]
    return carried
