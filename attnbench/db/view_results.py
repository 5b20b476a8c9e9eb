"""The view `results`: the rounds of a case as one row, as `report` shows them."""

from typing import Any

from sqlalchemy import Function, Select, String, Subquery, and_, case, cast, func, or_, select

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
    is_above,
    labels,
    labels_with_above_roofline,
    method,
    method_columns,
    outcome,
    rates,
    roofline_share,
    run_columns,
    time_of,
    with_origin,
)
from attnbench.families import FAMILIES
from attnbench.labels import Label
from attnbench.records import Status

# Tiers: several rounds, a single one, a single one beside others that failed, no possible time.
_SEVERAL, _SINGLE, _PARTIAL, _UNUSABLE = range(4)
_FOUND = ("first_case", "first_us", "ratio")
_HIDDEN = ("tier", "split", "case_id", "method_id", *_FOUND)
_TWO_PATHS = [name for name, family in FAMILIES.items() if family.two_paths]


def results(dialect: str) -> Select[Any]:
    """A row per run, case and method, against the best of the run's workload.

    The best is that of `analysis.ranking`: all are compared with the row of the least time, each
    over the rounds that both have. An impossible time is never the best, and a single round only
    where fewer than two cases have several.
    """
    row = _tiered(_timed(dialect).c).c
    compared = _over_first(row, row.us).c
    best = _over_first(compared, compared.ratio).c
    impossible = and_(best.tier == _UNUSABLE, best.us.is_not(None))
    labelled = labels_with_above_roofline(best.labels, impossible)
    shown = [labelled if each is best.labels else each for each in best]
    kept = [each for each in shown if each.name not in _HIDDEN]
    return select(*kept, case((best.tier < _UNUSABLE, best.ratio)).label("ratio_to_best"))


def _workload(row: Columns) -> tuple[Column, ...]:
    return row.run, row.workload_key, row.method_id, row.cache_state, row.regime, row.split


def _tiered(row: Columns) -> Subquery:
    """The rows with single rounds among the first tier unless two of the workload have several."""
    several = _number(row.tier == _SEVERAL).over(partition_by=_workload(row))
    tier = case((and_(several < 2, row.tier == _SINGLE), _SEVERAL), else_=row.tier).label("tier")
    return select(*(each for each in row if each.name != "tier"), tier).subquery()


def _over_first(row: Columns, by: Column) -> Subquery:
    """The rows with `ratio`, each time over that of the workload's first row by tier and `by`."""

    def first(column: Column) -> Column:
        least = func.first_value(column, type_=column.type)
        return least.over(partition_by=_workload(row), order_by=(row.tier, by))

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
    group = _groups()
    several = group.c.rounds > 1
    low = case((several, group.c.fastest), else_=group.c.low)
    high = case((several, group.c.slowest), else_=group.c.high)
    work = (group.c.flops, group.c.bytes, group.c.mean)
    roofline = roofline_share(*work, group.c.cache_state)
    wrong = or_(is_above(roofline), group.c.above_roofline > 0)
    split = and_(cases.family.in_(_TWO_PATHS), field("scope") == "kernel")
    return (
        select(
            *run_columns(),
            *case_columns(dialect),
            *method_columns(),
            case((group.c.rounds > 0, Status.OK.value), else_=group.c.failure).label("status"),
            group.c.rounds,
            (group.c.all_rounds - group.c.rounds).label("failed"),
            (group.c.mean * US).label("us"),
            (low * US).label("low"),
            (high * US).label("high"),
            *rates(*work),
            roofline.label("roofline"),
            group.c.cache_state,
            group.c.regime,
            group.c.decode_requests,
            _labels(dialect, group).label("labels"),
            _tier(group, wrong).label("tier"),
            case((split, group.c.decode_requests)).label("split"),
            group.c.case_id,
            group.c.method_id,
        )
        .select_from(with_origin(group))
        .subquery("timed")
    )


def _tier(group: Subquery, wrong: Column) -> Column:
    rounds = group.c.rounds
    return case(
        (or_(rounds == 0, wrong), _UNUSABLE),
        (rounds > 1, _SEVERAL),
        (group.c.all_rounds == rounds, _SINGLE),
        else_=_PARTIAL,
    )


def _labels(dialect: str, group: Subquery) -> Column:
    """The labels of all rounds."""
    others = MeasurementRow.__table__.alias()
    same = [others.c[name] == group.c[name] for name in ("run", "case_id", "method_id")]
    return labels(dialect, others, *same)


def _groups() -> Subquery:
    """The outcomes of a run, case and method together; seconds.

    What was incorrect once is wrong: then no round has a time.
    """
    wrong = _number(outcome.status == Status.INCORRECT) > 0
    failure = func.max(case((outcome.status != Status.OK, outcome.status)))
    above = cast(outcome.labels, String).like(f'%"{Label.ABOVE_ROOFLINE}"%')
    identity = (outcome.run, outcome.case_id, outcome.method_id)
    return (
        select(
            *identity,
            func.max(outcome.machine_id).label("machine_id"),
            func.count().label("all_rounds"),
            case((wrong, 0), else_=func.count(TIME)).label("rounds"),
            case((wrong, Status.INCORRECT.value), else_=failure).label("failure"),
            *(case((~wrong, found)).label(name) for name, found in _of_timed().items()),
            _number(above).label("above_roofline"),
        )
        .join_from(MeasurementRow, MethodRow, outcome.method_id == method.id)
        .group_by(*identity)
        .subquery("groups")
    )


def _of_timed() -> dict[str, Column]:
    """Columns of a group's rounds with a time."""

    def known(column: Column) -> Column:
        return case((TIME.is_not(None), column))

    def common(column: Column) -> Column:
        several = func.count(known(column).distinct()) > 1
        return case((several, "mixed"), else_=func.min(known(column)))

    return {
        "mean": geometric_mean(TIME),
        "fastest": func.min(TIME),
        "slowest": func.max(TIME),
        "low": func.min(known(outcome.low)),
        "high": func.max(known(outcome.high)),
        "flops": func.max(known(outcome.flops)),
        "bytes": func.max(known(outcome.bytes)),
        "decode_requests": func.min(known(outcome.decode_requests)),
        "cache_state": common(outcome.cache_state),
        "regime": common(REGIME),
    }


def _number(condition: Column) -> Function[Any]:
    return func.sum(case((condition, 1), else_=0))
