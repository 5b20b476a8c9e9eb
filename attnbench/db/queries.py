"""Reading: few statements, however many rows there are."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeVar

from sqlalchemy import CTE, ColumnElement, Select, func, select, tuple_
from sqlalchemy.orm import Session, defer

from attnbench.db.damage import readable
from attnbench.db.models import (
    CaseRow,
    EnvironmentRow,
    MachineRow,
    MeasurementRow,
    MethodRow,
    RunRow,
    SourceRow,
)
from attnbench.db.rows import measurement, run_record, stored_case
from attnbench.errors import UsageError
from attnbench.records import Measurement, Run, Status
from attnbench.specs.case import Case

# By time, because a merged run gets a higher number than older local ones.
OLDEST_FIRST = (RunRow.started, RunRow.number)
NEWEST_FIRST = (RunRow.started.desc(), RunRow.number.desc())
_SERIES = tuple_(MeasurementRow.run, MeasurementRow.case_id, MeasurementRow.method_id)
# Databases limit the values of one statement, SQLite to 32766.
MAX_VALUES = 10_000

T = TypeVar("T")


def read_runs(session: Session, *where: ColumnElement[bool]) -> list[Run]:
    """The runs that meet the conditions, oldest first."""
    counts = _counts(session, *where)
    query = (
        select(RunRow, MachineRow, EnvironmentRow, SourceRow)
        .join(MachineRow, RunRow.machine_id == MachineRow.id)
        .join(EnvironmentRow, RunRow.environment_id == EnvironmentRow.id)
        .join(SourceRow, RunRow.source_id == SourceRow.id)
        .options(defer(RunRow.plan))
        .where(*where)
        .order_by(*OLDEST_FIRST)
    )
    return [
        run_record(run, machine, environment, source, counts[run.number])
        for run, machine, environment, source in session.execute(query)
    ]


def require_run(session: Session, run: int) -> RunRow:
    """The row of a run; UsageError for an unknown number."""
    if (found := session.get(RunRow, run)) is not None:
        return found
    numbers = session.scalars(select(RunRow.number).order_by(RunRow.number.desc()).limit(5)).all()
    known = ", ".join(map(str, reversed(numbers))) or "none yet"
    raise UsageError(f"there is no run {run}; the last runs are: {known}")


def _counts(session: Session, *where: ColumnElement[bool]) -> Mapping[int, dict[Status, int]]:
    query = (
        select(MeasurementRow.run, MeasurementRow.status, func.count())
        .where(MeasurementRow.run.in_(select(RunRow.number).where(*where)))
        .group_by(MeasurementRow.run, MeasurementRow.status)
    )
    counts: dict[int, dict[Status, int]] = defaultdict(dict)
    for run, status, count in session.execute(query):
        counts[run][Status(status)] = count
    return counts


@readable("a measurement, its case, method or machine")
def read_measurements(
    session: Session, runs: Collection[int], pool: bool, cases: Collection[int] | None = None
) -> list[Measurement]:
    """The outcomes of the runs, of some cases by id or of all, oldest run first, then by position.

    Unless pooled, only the newest run counts among those that measured the same case with the same
    method on the same machine model.
    """
    machines = {row.id: row for row in session.scalars(select(MachineRow))}
    of_runs = _of_runs(session, runs)
    methods = {row.id: row for row in session.scalars(select(MethodRow))}
    wanted = _wanted(runs, pool)
    if cases is not None:
        wanted = wanted.where(MeasurementRow.case_id.in_(cases))
    found = session.execute(wanted).all()
    decoded = _cases(session, {row.case_id for row in found})
    return [
        measurement(
            row,
            decoded[row.case_id],
            methods[row.method_id],
            machines[row.machine_id or of_runs[row.run]],
        )
        for row in found
    ]


def read_seconds(session: Session, cases: Collection[str], machine_model: str) -> dict[str, float]:
    """By case key, the mean total seconds of an ok round in its newest run."""
    there = MachineRow.model_key == machine_model
    runs = session.scalars(select(RunRow.number).join_from(RunRow, MachineRow).where(there)).all()
    query = (
        select(CaseRow.key, MeasurementRow.durations)
        .join(CaseRow, MeasurementRow.case_id == CaseRow.id)
        .where(MeasurementRow.status == Status.OK, _SERIES.in_(_newest(runs)))
    )
    seconds: dict[str, list[float]] = defaultdict(list)
    for some in batched(sorted(cases), MAX_VALUES):
        for key, durations in session.execute(query.where(CaseRow.key.in_(some))):
            seconds[key].append(math.fsum(map(float, durations.values())))
    return {key: fmean(each) for key, each in seconds.items()}


def _cases(session: Session, ids: Collection[int]) -> dict[int, tuple[CaseRow, Case]]:
    return {
        row.id: (row, stored_case(row.key, row.canonical))
        for some in batched(sorted(ids), MAX_VALUES)
        for row in session.scalars(select(CaseRow).where(CaseRow.id.in_(some)))
    }


def _of_runs(session: Session, runs: Collection[int]) -> dict[int, int]:
    """The id of each run's own machine."""
    query = select(RunRow.number, RunRow.machine_id).where(RunRow.number.in_(runs))
    return dict(session.execute(query).all())


def _wanted(runs: Collection[int], pool: bool) -> Select[*tuple[Any, ...]]:
    query = select(*MeasurementRow.__table__.c).join(RunRow, MeasurementRow.run == RunRow.number)
    query = query.order_by(*OLDEST_FIRST, MeasurementRow.position, MeasurementRow.id)
    if pool:
        return query.where(MeasurementRow.run.in_(runs))
    return query.where(_SERIES.in_(_newest(runs)))


def _newest(runs: Collection[int]) -> Select[*tuple[Any, ...]]:
    """The newest run of each case, method and machine model: run, case, method."""
    # Over a million rows, grouping by a rank takes a third of the time of a window function.
    ages, measured = _ages(runs), _measured(runs)
    series = (measured.c.case_id, measured.c.method_id, ages.c.model_key)
    newest = (
        select(*series, func.max(ages.c.age).label("age"))
        .join_from(measured, ages, measured.c.run == ages.c.run)
        .group_by(*series)
        .cte("newest")
    )
    found = select(ages.c.run, newest.c.case_id, newest.c.method_id)
    return found.join_from(newest, ages, newest.c.age == ages.c.age)


def _ages(runs: Collection[int]) -> CTE:
    """Each run with its machine model and its rank by age; the newest has the highest."""
    age = func.row_number().over(order_by=OLDEST_FIRST).label("age")
    query = select(RunRow.number.label("run"), MachineRow.model_key, age)
    return query.join_from(RunRow, MachineRow).where(RunRow.number.in_(runs)).cte("ages")


def _measured(runs: Collection[int]) -> CTE:
    """Each run, case and method once."""
    query = select(MeasurementRow.run, MeasurementRow.case_id, MeasurementRow.method_id)
    return query.where(MeasurementRow.run.in_(runs)).distinct().cte("measured")


def batched(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The values, at most `size` at a time."""
    return (values[start : start + size] for start in range(0, len(values), size))
