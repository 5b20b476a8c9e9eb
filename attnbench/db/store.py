"""Stores outcomes as soon as they are known, and reads them back as records."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.exc import IntegrityError

from attnbench.db import rows
from attnbench.db.adding import Shared, add_outcomes, stored_ids
from attnbench.db.base import Json
from attnbench.db.keyed import find_or_add
from attnbench.db.models import (
    ConclusionRow,
    MachineRow,
    MeasurementRow,
    RunRow,
    SampleRow,
    SentinelRow,
)
from attnbench.db.queries import (
    NEWEST_FIRST,
    batched,
    read_measurements,
    read_runs,
    read_seconds,
    require_run,
)
from attnbench.db.unfinished import UnfinishedDatabase
from attnbench.errors import AttnbenchError
from attnbench.passwords import without_password
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Measurement, Outcome, Rates, Run, RunStatus, Status
from attnbench.specs.case import Case
from attnbench.timing.finished import Finished
from attnbench.timing.method import Method

_HAS_RESULT = (
    select(MeasurementRow.id)
    .where(MeasurementRow.run == RunRow.number, MeasurementRow.status == Status.OK)
    .exists()
)
_SAMPLES_AT_ONCE = 500  # measurements whose samples are read by one statement


class Store(UnfinishedDatabase):
    """Results. Every method is one transaction: a kill at any time leaves complete rows.

    Runs are named by their number in this database; UsageError for an unknown one.
    """

    def start_run(
        self,
        *,
        command: str,
        argv: Sequence[str],
        label: str | None,
        options: Json,
        plan: Json,
        machine: Machine,
        environment: Environment,
        source: Source,
    ) -> int:
        """Store a run that begins now; returns its number."""
        with self.writing() as session:
            run = RunRow(
                uuid=uuid4().hex,
                command=command,
                argv=[without_password(word) for word in argv],
                label=label,
                status=RunStatus.RUNNING,
                started=datetime.now(UTC),
                finished=None,
                options=options,
                plan=plan,
                machine_id=find_or_add(session, rows.machine_row(machine)),
                environment_id=find_or_add(session, rows.environment_row(environment)),
                source_id=find_or_add(session, rows.source_row(source)),
            )
            session.add(run)
            session.flush()
            return run.number

    def add(
        self, run: int, case: Case, method: Method, round: int, position: int, outcome: Outcome
    ) -> int:
        """Store an outcome with its samples; returns its id."""
        finished = Finished(case, method, round, position, outcome)
        self.add_all(run, [finished])
        with self.reading() as session:
            return stored_ids(session, [finished])[0]

    def add_all(self, run: int, finished: Sequence[Finished]) -> None:
        """Store outcomes with their samples, in one transaction: all are stored, or none.

        What is stored already, by its UUID, may be stored again. Raises AttnbenchError if the run
        has another outcome in the place of one of them.
        """
        try:
            with self.writing() as session:
                require_run(session, run)
                new = add_outcomes(session, run, finished, self._known)
            self._known.update(new)
        except IntegrityError:
            with self.reading() as session:
                if len(stored_ids(session, finished)) == len(finished):
                    return
            raise AttnbenchError(
                f"run {run} has this outcome already: another attnbench measures it too"
            ) from None

    @cached_property
    def _known(self) -> dict[Shared, int]:
        """Ids of cases, methods and machines that were committed, which nothing deletes."""
        return {}

    def add_sentinels(self, run: int, moment: str, facts: Rates) -> None:
        """Store the sentinels' facts of a run's first "start" or its last "end"."""
        with self.writing() as session:
            require_run(session, run)
            row = session.get(SentinelRow, (run, moment))
            if row is None:
                session.add(SentinelRow(run=run, moment=moment, facts=dict(facts)))
            elif moment == "end":
                row.facts = dict(facts)

    def replan(self, run: int, plan: Json) -> None:
        """Change a run's plan; what is stored beside it stays."""
        with self.writing() as session:
            row = require_run(session, run)
            row.plan = {**row.plan, **plan}

    def conclude(self, run: int, facts: Json) -> None:
        """Store the conclusion of a study's run, replacing an earlier one."""
        with self.writing() as session:
            require_run(session, run)
            row = ConclusionRow(run=run, facts=dict(facts), created=datetime.now(UTC))
            session.merge(row)

    def conclusion(self, run: int) -> Json | None:
        """The conclusion of a study's run; None if none is stored."""
        with self.reading() as session:
            row = session.get(ConclusionRow, run)
            return None if row is None else row.facts

    def finish_run(self, run: int, status: RunStatus) -> None:
        """Set how a run ended; RunStatus.RUNNING when it is resumed."""
        with self.writing() as session:
            row = require_run(session, run)
            row.status = status
            row.finished = None if status is RunStatus.RUNNING else datetime.now(UTC)

    def relabel(self, run: int, label: str | None) -> None:
        """Give a run another label, or none."""
        with self.writing() as session:
            require_run(session, run).label = label

    def delete(self, run: int) -> None:
        """Delete a run with its outcomes; cases and machines stay, since others may share them."""
        with self.writing() as session:
            session.delete(require_run(session, run))

    def runs(self, numbers: Collection[int] | None = None) -> list[Run]:
        """All runs, or those of these numbers, oldest first."""
        where = [] if numbers is None else [RunRow.number.in_(numbers)]
        with self.reading() as session:
            return read_runs(session, *where)

    def run(self, number: int) -> Run:
        """One run."""
        with self.reading() as session:
            require_run(session, number)
            return read_runs(session, RunRow.number == number)[0]

    def plan(self, run: int) -> Json:
        """The run's plan, as given to `start_run` or `replan`."""
        with self.reading() as session:
            return require_run(session, run).plan

    def latest_run(self) -> Run | None:
        """The newest run with an ok outcome."""
        return self._newest_run(_HAS_RESULT)

    def previous_run(self, run: Run) -> Run | None:
        """The newest other run of the same command with an ok outcome."""
        others = RunRow.number != run.number, RunRow.command == run.command
        return self._newest_run(_HAS_RESULT, *others)

    def latest_unfinished(
        self, command: str, machines: Collection[str] = (), *, hostname: str = ""
    ) -> Run | None:
        """The newest run of a command that was killed, interrupted or still runs.

        Its own machine is one of these by its key, or of that host.
        """
        is_here = or_(
            MachineRow.machine_key.in_(machines),
            and_(MachineRow.hostname == hostname, MachineRow.hostname != ""),
        )
        here = select(MachineRow.id).where(is_here)
        unfinished = RunRow.status != RunStatus.FINISHED
        return self._newest_run(RunRow.command == command, unfinished, RunRow.machine_id.in_(here))

    def _newest_run(self, *where: ColumnElement[bool]) -> Run | None:
        query = select(RunRow.number).where(*where).order_by(*NEWEST_FIRST).limit(1)
        with self.reading() as session:
            number = session.scalar(query)
            return None if number is None else read_runs(session, RunRow.number == number)[0]

    def measurements(self, runs: Collection[int], *, pool: bool = False) -> list[Measurement]:
        """The outcomes of the runs, failures included, oldest run first, then by position.

        If several runs measured the same case with the same method on the same machine model, only
        the newest counts, unless they are pooled.
        """
        with self.reading() as session:
            return read_measurements(session, runs, pool)

    def samples(self, measurement: int) -> NDArray[np.float64]:
        """Seconds per call [num_samples]; empty if none are stored."""
        query = select(SampleRow.values).where(SampleRow.measurement_id == measurement)
        with self.reading() as session:
            return rows.decode_samples(session.scalar(query) or b"")

    def samples_of(
        self, measurements: Collection[int]
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Id and seconds per call of each that has stored samples; few are in memory at once."""
        for some in batched(sorted(measurements), _SAMPLES_AT_ONCE):
            query = select(SampleRow.measurement_id, SampleRow.values)
            with self.reading() as session:
                found = session.execute(query.where(SampleRow.measurement_id.in_(some))).all()
            yield from ((id, rows.decode_samples(values)) for id, values in found)

    def sentinels(self, run: int) -> dict[str, Rates]:
        """The sentinels' facts of a run by moment, start and end; empty if none are stored."""
        query = select(SentinelRow.moment, SentinelRow.facts).where(SentinelRow.run == run)
        with self.reading() as session:
            return dict(session.execute(query).all())

    def seconds_a_round(self, cases: Collection[str], machine_model: str) -> dict[str, float]:
        """By case key, the mean total seconds of a round in its newest run there."""
        with self.reading() as session:
            return read_seconds(session, cases, machine_model)
