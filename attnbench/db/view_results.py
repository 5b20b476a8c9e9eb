"""The view `results`: the rounds of a case as one row, as `report` shows them."""

from typing import Any

from sqlalchemy import Select, String, Subquery, and_, case, cast, func, or_, select

from attnbench.db.models import MeasurementRow, MethodRow
from attnbench.db.view_columns import (
    REGIME,
    TIME,
    US,
    Column,
    Columns,
    case_columns,
    cases,
    field,
    geometric_mean,
    labels,
    machine,
    method,
    method_columns,
    outcome,
    run_columns,
    time_of,
    with_origin,
)
from attnbench.families import FAMILIES
from attnbench.labels import Label
from attnbench.provenance.peaks import TOLERANCE
from attnbench.records import Status

_UNUSABLE = 2  # the last tier; single rounds come before it, after several
_FOUND = ("first_case", "first_us", "ratio")
_HIDDEN = ("tier", "split", "case_id", "method_id", *_FOUND)
_TWO_PATHS = [name for name, family in FAMILIES.items() if family.two_paths]


def results(dialect: str) -> Select[Any]:
    """A row per run, case and method, against the best of the run's workload.

    The best is that of `analysis.ranking`: all are compared with the row of the least time, each
    over the rounds that both have. An impossible time is never the best, and a single round only
    where no case has several.
    """
    row = _timed(dialect).c
    compared = _over_first(row, row.us).c
    best = _over_first(compared, compared.ratio).c
    shown = [each for each in best if each.name not in _HIDDEN]
    return select(*shown, case((best.tier < _UNUSABLE, best.ratio)).label("ratio_to_best"))


def _over_first(row: Columns, by: Column) -> Subquery:
    """The rows with `ratio`, each time over that of the workload's first row by tier and `by`."""
    workload = (row.run, row.workload_key, row.method_id, row.cache_state, row.regime, row.split)

    def first(column: Column) -> Column:
        least = func.first_value(column, type_=column.type)
        return least.over(partition_by=workload, order_by=(row.tier, by))

    kept = [each for each in row if each.name not in _FOUND]
    firsts = first(row.case_id).label("first_case"), first(row.us).label("first_us")
    found = select(*kept, *firsts).subquery()
    ratio = func.coalesce(_over_shared_rounds(found.c), found.c.us / found.c.first_us)
    return select(*found.c, ratio.label("ratio")).subquery()


def _over_shared_rounds(row: Columns) -> Column:
    """The time over that of `first_case` over the rounds that both have; NULL if there are none."""
    own, other = MeasurementRow.__table__.alias().c, MeasurementRow.__table__.alias().c
    matched = [
        *(own[name] == row[name] for name in ("run", "case_id", "method_id")),
        *(other[name] == own[name] for name in ("run", "method_id", "round")),
        other.case_id == row.first_case,
    ]
    return select(geometric_mean(time_of(own) / time_of(other))).where(*matched).scalar_subquery()


def _timed(dialect: str) -> Subquery:
    """The rows of `results` before they are compared."""
    group, others = _groups(), MeasurementRow.__table__.alias()
    right = group.c.incorrect == 0  # wrong once is wrong: then no round counts
    time = case((right, group.c.mean))
    several = group.c.rounds > 1
    low = case((several, group.c.fastest), else_=group.c.low)
    high = case((several, group.c.slowest), else_=group.c.high)
    roofline = _roofline(group, time)
    same = [others.c[name] == group.c[name] for name in ("run", "case_id", "method_id")]
    found = labels(dialect, others.c.labels, others).where(*same).scalar_subquery()
    wrong = or_(roofline > 1 / TOLERANCE, group.c.above_roofline > 0)
    split = and_(cases.family.in_(_TWO_PATHS), field("scope") == "kernel")
    return (
        select(
            *run_columns(),
            *case_columns(dialect),
            *method_columns(),
            _status(group).label("status"),
            group.c.rounds,
            group.c.failed,
            (time * US).label("us"),
            (case((right, low)) * US).label("low"),
            (case((right, high)) * US).label("high"),
            (group.c.flops / time / 1e12).label("tflops"),
            (group.c.bytes / time / 1e9).label("gbps"),
            roofline.label("roofline"),
            group.c.cache_state,
            group.c.regime,
            group.c.decode_requests,
            found.label("labels"),
            case((or_(time.is_(None), wrong), _UNUSABLE), (several, 0), else_=1).label("tier"),
            case((split, group.c.decode_requests)).label("split"),
            group.c.case_id,
            group.c.method_id,
        )
        .select_from(with_origin(group))
        .subquery("timed")
    )


def _groups() -> Subquery:
    """The outcomes of a run, case and method together; seconds."""
    has_time, above = TIME.is_not(None), f'%"{Label.ABOVE_ROOFLINE}"%'

    def of_timed(column: Column) -> Column:
        return case((has_time, column))

    def number(condition: Column) -> Column:
        return func.sum(case((condition, 1), else_=0))

    def common(column: Column) -> Column:
        several = func.count(column.distinct()) > 1
        return case((several, "mixed"), else_=func.min(column))

    identity = (outcome.run, outcome.case_id, outcome.method_id)
    return (
        select(
            *identity,
            func.max(outcome.machine_id).label("machine_id"),
            func.count(TIME).label("rounds"),
            number(outcome.status != Status.OK).label("failed"),
            number(outcome.status == Status.INCORRECT).label("incorrect"),
            func.max(case((outcome.status != Status.OK, outcome.status))).label("failure"),
            geometric_mean(TIME).label("mean"),
            func.min(TIME).label("fastest"),
            func.max(TIME).label("slowest"),
            func.min(of_timed(outcome.low)).label("low"),
            func.max(of_timed(outcome.high)).label("high"),
            func.max(of_timed(outcome.flops)).label("flops"),
            func.max(of_timed(outcome.bytes)).label("bytes"),
            func.min(of_timed(outcome.decode_requests)).label("decode_requests"),
            common(of_timed(outcome.cache_state)).label("cache_state"),
            common(of_timed(REGIME)).label("regime"),
            number(cast(outcome.labels, String).like(above)).label("above_roofline"),
        )
        .join_from(MeasurementRow, MethodRow, outcome.method_id == method.id)
        .group_by(*identity)
        .subquery("groups")
    )


def _status(group: Subquery) -> Column:
    incorrect, timed = group.c.incorrect > 0, group.c.rounds > 0
    return case((incorrect, Status.INCORRECT.value), (timed, "ok"), else_=group.c.failure)


def _roofline(group: Subquery, time: Column) -> Column:
    """The least time that the machine's peaks allow over the time."""
    dtype, in_fp8 = field("dtype"), field("kv_cache_dtype").like("fp8%")
    by_dtype = case((dtype == "fp32", machine.flops_fp32), else_=machine.flops_16_bit)
    peak = func.coalesce(case((in_fp8, machine.flops_fp8)), by_dtype)
    compute, memory = group.c.flops / peak, group.c.bytes / machine.bytes_per_second
    return case((compute > memory, compute / time), (group.c.cache_state == "cold", memory / time))
