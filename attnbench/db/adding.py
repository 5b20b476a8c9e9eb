"""Adding outcomes: few statements, however many outcomes there are."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session

from attnbench.db.base import Base, Keyed
from attnbench.db.keyed import find_or_add_all
from attnbench.db.rows import (
    case_row,
    encode_samples,
    machine_row,
    measurement_columns,
    method_row,
)
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.timing.finished import Finished
from attnbench.timing.method import Method

Shared = Case | Method | Machine
Ids = Mapping[Shared, int]
K = TypeVar("K", Case, Method, Machine)

_OUTCOMES, _SAMPLES = (Base.metadata.tables[name] for name in ("measurement", "sample"))
_ADD_SAMPLES = insert(_SAMPLES).from_select(
    ["measurement_id", "values"],
    select(_OUTCOMES.c.id, bindparam("samples", type_=_SAMPLES.c["values"].type)).where(
        _OUTCOMES.c.uuid == bindparam("of")
    ),
)


def add_outcomes(
    session: Session, run: int, finished: Sequence[Finished], known: Ids
) -> dict[Shared, int]:
    """Insert outcomes with their samples; returns the ids of shared rows that were not known.

    Machines go before cases, those before methods, each by its key: two writers that wait for each
    other's rows would never end.
    """
    cards = [each.machine for each in finished if each.machine is not None]
    ids, of_cards = _ids(session, cards, known, machine_row)
    card_ids: dict[Machine | None, int | None] = {None: None}
    card_ids.update(zip(cards, ids, strict=True))
    cases, new = _ids(session, [each.case for each in finished], known, case_row)
    methods, more = _ids(session, [each.method for each in finished], known, method_row)
    rows = [
        measurement_columns(each, run, case, method, card_ids[each.machine])
        for each, case, method in zip(finished, cases, methods, strict=True)
    ]
    samples = [
        {"of": each.uuid, "samples": encode_samples(each.outcome.samples)}
        for each in finished
        if each.outcome.samples
    ]
    if rows:
        session.execute(insert(_OUTCOMES), rows)
    if samples:
        session.execute(_ADD_SAMPLES, samples)
    return of_cards | new | more


def stored_ids(session: Session, finished: Sequence[Finished]) -> Sequence[int]:
    """The ids of those outcomes that are stored, found by their UUIDs."""
    uuids = [each.uuid for each in finished]
    return session.scalars(select(_OUTCOMES.c.id).where(_OUTCOMES.c.uuid.in_(uuids))).all()


def _ids(
    session: Session, wanted: Sequence[K], known: Ids, row: Callable[[K], Keyed]
) -> tuple[list[int], dict[Shared, int]]:
    """The id of each, and those that were not known, which are added where they are missing.

    Hashing a case of a large batch takes longer than any of its columns: once is enough.
    """
    ids = [known.get(each) for each in wanted]
    found = {each for each, id in zip(wanted, ids, strict=True) if id is None}
    unknown = sorted(found, key=_key)
    new_ids = find_or_add_all(session, [row(each) for each in unknown])
    new: dict[Shared, int] = dict(zip(unknown, new_ids, strict=True))
    return [new[each] if id is None else id for each, id in zip(wanted, ids, strict=True)], new


def _key(keyed: Shared) -> str:
    return keyed.key
