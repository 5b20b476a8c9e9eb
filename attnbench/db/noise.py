"""How far equal code measures apart on a device: found by `selfcheck`, used by `diff`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from attnbench.db.models import NoiseRow


@dataclass(frozen=True, slots=True)
class StoredNoise:
    """One stratum of one family, as measured on one device."""

    uuid: str
    machine_key: str  # of the device that it was measured on
    machine_model: str  # hash that cards of one model share
    family: str
    stratum: str  # which durations it holds for
    floor: float  # the change that equal code shows, a logarithm of a ratio
    session_sd: float | None  # of what one session does to all its rounds; None if not measured
    num_cells: int  # comparisons that it rests on
    facts: Mapping[str, Any]  # what else was found
    created: datetime  # UTC


def read_noise(
    session: Session, machine_key: str, machine_model: str, family: str, stratum: str
) -> StoredNoise | None:
    """The newest of that very device, else the newest of its model, else None."""
    of_device = NoiseRow.machine_key == machine_key
    query = (
        select(NoiseRow)
        .where(NoiseRow.machine_model == machine_model)
        .where(NoiseRow.family == family, NoiseRow.stratum == stratum)
        .order_by(of_device.desc(), NoiseRow.created.desc(), NoiseRow.id.desc())
        .limit(1)
    )
    row = session.scalar(query)
    return None if row is None else _record(row)


def _record(row: NoiseRow) -> StoredNoise:
    return StoredNoise(
        uuid=row.uuid,
        machine_key=row.machine_key,
        machine_model=row.machine_model,
        family=row.family,
        stratum=row.stratum,
        floor=row.floor,
        session_sd=row.session_sd,
        num_cells=row.num_cells,
        facts=row.facts,
        created=row.created,
    )
