"""Stored noise: how far apart equal code measures on a device, by `selfcheck`, for `diff`."""

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
    machine_key: str  # of the device it was measured on
    machine_model: str  # hash that cards of one model share
    family: str
    stratum: str  # the durations it holds for
    floor: float  # the change that equal code shows, as a log ratio
    session_sd: float | None  # of a session's effect on all its rounds; None if not measured
    num_cells: int  # comparisons it is based on
    facts: Mapping[str, Any]  # further results
    created: datetime  # UTC


def read_noise(
    session: Session, machine_key: str, machine_model: str, family: str, stratum: str
) -> StoredNoise | None:
    """The newest of the same device, else the newest of its model, else None."""
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
