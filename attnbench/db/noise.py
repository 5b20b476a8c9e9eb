"""How far apart equal code measures: noise stored by `selfcheck`, and the runs that show it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from attnbench.db.base import Json
from attnbench.db.database import Database
from attnbench.db.models import MachineRow, NoiseRow
from attnbench.db.repeats import RepeatedRounds, SessionRow, read_rounds, read_sessions


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


class NoiseDatabase(Database):
    """What a database knows of noise."""

    def add_noise(
        self,
        *,
        machine_key: str,
        machine_model: str,
        family: str,
        stratum: str,
        floor: float,
        session_sd: float | None,
        num_cells: int,
        facts: Json,
    ) -> None:
        """Store measured noise; the fields are those of `StoredNoise`."""
        with self.writing() as session:
            row = NoiseRow(
                uuid=uuid4().hex,
                machine_key=machine_key,
                machine_model=machine_model,
                family=family,
                stratum=stratum,
                floor=floor,
                session_sd=session_sd,
                num_cells=num_cells,
                facts=dict(facts),
                created=datetime.now(UTC),
            )
            session.add(row)

    def noise(
        self, machine_key: str, machine_model: str, family: str, stratum: str
    ) -> StoredNoise | None:
        """The newest noise of the same device, else of its model; None if none is stored."""
        with self.reading() as session:
            return _read(session, machine_key, machine_model, family, stratum)

    def sessions(self, machine_model: str) -> list[SessionRow]:
        """The newest runs on cards of that model, as far as noise goes by them."""
        with self.reading() as session:
            return read_sessions(session, machine_model)

    def rounds(self, rows: Collection[SessionRow]) -> list[RepeatedRounds]:
        """The times of these runs, without what else was measured."""
        with self.reading() as session:
            return list(read_rounds(session, rows))

    def machine_name(self, machine_model: str) -> str | None:
        """The name of that model; None where the store has none of it."""
        query = select(MachineRow.name).where(MachineRow.model_key == machine_model).limit(1)
        with self.reading() as session:
            return session.scalar(query)


def _read(
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
    return StoredNoise(**{each.name: getattr(row, each.name) for each in fields(StoredNoise)})
