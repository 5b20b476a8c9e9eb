"""Cases and measurements by a prefix of their key."""

import re
from collections.abc import Collection, Sequence

from sqlalchemy import select

from attnbench.db.models import CaseRow, MeasurementRow
from attnbench.db.queries import MAX_VALUES, batched, read_measurements
from attnbench.db.rows import stored_case
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Measurement
from attnbench.specs.case import Case

_AFTER_HEX = "g"  # sorts after all hexadecimal digits
_LISTED = 5  # keys in a message


def find_cases(store: Store, prefix: str) -> dict[str, Case]:
    """The cases whose key starts with `prefix`, by key."""
    if not re.fullmatch("[0-9a-f]*", prefix):
        return {}  # a server may refuse to compare with such a text
    query = select(CaseRow.key, CaseRow.canonical)
    if prefix:
        query = query.where(CaseRow.key >= prefix, CaseRow.key < prefix + _AFTER_HEX)
    with store.reading() as session:
        return {key: stored_case(key, facts) for key, facts in session.execute(query)}


def measurements_of(store: Store, cases: Collection[str]) -> list[Measurement]:
    """All outcomes of the cases with these keys, oldest run first, then by position."""
    query = select(CaseRow.id).where(CaseRow.key.in_(cases))
    with store.reading() as session:
        ids = session.scalars(query).all()
        runs = select(MeasurementRow.run).where(MeasurementRow.case_id.in_(ids)).distinct()
        return read_measurements(session, session.scalars(runs).all(), pool=True, cases=ids)


def cases_of(store: Store, runs: Collection[int]) -> set[str]:
    """The keys of the cases that the runs measured."""
    query = select(CaseRow.key).join_from(MeasurementRow, CaseRow)
    with store.reading() as session:
        return {
            key
            for some in batched(sorted(runs), MAX_VALUES)
            for key in session.scalars(query.where(MeasurementRow.run.in_(some)).distinct())
        }


def find_measurement(store: Store, prefix: str) -> Measurement | None:
    """The outcome whose UUID starts with `prefix`, else the newest of the case whose key does.

    None if there is none; UsageError if several outcomes or several cases match.
    """
    place = select(MeasurementRow.uuid, MeasurementRow.run, MeasurementRow.case_id)
    begins = (MeasurementRow.uuid >= prefix, MeasurementRow.uuid < prefix + _AFTER_HEX)
    with store.reading() as session:
        places = session.execute(place.where(*begins).limit(_LISTED)).all()
        _require_one(prefix, "measurements", [row.uuid for row in places])
        for uuid, run, case in places:
            found = read_measurements(session, [run], pool=True, cases=[case])
            return next(each for each in found if each.uuid == uuid)
    cases = list(find_cases(store, prefix))
    _require_one(prefix, "cases", cases)
    return next(reversed(measurements_of(store, cases)), None)


def _require_one(prefix: str, what: str, found: Sequence[str]) -> None:
    if len(found) > 1:
        raise UsageError(
            f"{prefix} begins several {what}; give more digits: {', '.join(found[:_LISTED])}"
        )
