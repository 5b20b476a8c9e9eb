"""SQL views for other tools: `rounds`, `results`, `runs_flat`, `history`.

docs/reference/schema.md describes them. They hold what SQL can compute as `report` does: times,
ratios of times, shares of the roofline. Verdicts weigh the machine's noise, and stay with `report`
and `diff`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    Select,
    String,
    Subquery,
    Table,
    and_,
    case,
    cast,
    func,
    inspect,
    literal,
    or_,
    select,
)
from sqlalchemy.schema import CreateView

from attnbench.db.models import (
    EnvironmentRow,
    MachineRow,
    MeasurementRow,
    MethodRow,
    RunRow,
    SourceRow,
)
from attnbench.db.view_columns import (
    REGIME,
    TIME,
    US,
    Column,
    case_columns,
    cases,
    field,
    geometric_mean,
    labels,
    machine,
    method,
    method_columns,
    outcome,
    run,
    run_columns,
    source,
    with_origin,
)
from attnbench.families import FAMILIES
from attnbench.labels import Label
from attnbench.provenance.peaks import TOLERANCE
from attnbench.records import Status

_PACKAGES = ("torch", "triton", "vllm", "flashinfer-python", "attnbench")
_TWO_PATHS = [name for name, family in FAMILIES.items() if family.two_paths]


def create_views(connection: Connection) -> None:
    """Create all views; each may read those before it."""
    for name in VIEWS:
        connection.execute(_create(name, connection.dialect.name))


def drop_views(connection: Connection) -> None:
    """Drop the views that exist: tables under them are about to change."""
    present = set(inspect(connection).get_view_names())
    for name in reversed(list(VIEWS)):
        if name in present:
            connection.exec_driver_sql(f"DROP VIEW {name}")


def view_table(name: str, dialect: str) -> Table:
    """A view with its typed columns, to select from."""
    return _create(name, dialect).table


def _create(name: str, dialect: str) -> CreateView:
    return CreateView(VIEWS[name](dialect), name)


def _rounds(dialect: str) -> Select[Any]:
    """A row per outcome."""
    stored = MeasurementRow.__table__
    return select(
        *run_columns(),
        *case_columns(dialect),
        *method_columns(),
        (outcome.round + 1).label("round"),  # as in all other output
        outcome.position,
        outcome.status,
        outcome.reason,
        (TIME * US).label("us"),
        (outcome.low * US).label("low"),
        (outcome.high * US).label("high"),
        outcome.num_samples,
        (outcome.flops / TIME / 1e12).label("tflops"),
        (outcome.bytes / TIME / 1e9).label("gbps"),
        outcome.cache_state,
        REGIME.label("regime"),
        outcome.decode_requests,
        outcome.prefill_requests,
        labels(dialect, outcome.labels).scalar_subquery().label("labels"),
        (outcome.kernel_seconds * US).label("kernel_us"),
        (outcome.enqueue_seconds * US).label("enqueue_us"),
        (outcome.plan_seconds * US).label("plan_us"),
        outcome.peak_memory.label("peak_memory_bytes"),
        outcome.stored,
        outcome.uuid,
    ).select_from(with_origin(stored, outcome.run, outcome.case_id, outcome.method_id))


def _results(dialect: str) -> Select[Any]:
    """A row per run, case and method, against the best of the run's workload."""
    row = _timed(dialect).c
    # An impossible time is never the best, and a single round only where no case has several.
    usable = and_(row.us.is_not(None), row.impossible == 0)
    order = case((~usable, 2), (row.rounds > 1, 0), else_=1)
    workload = (row.run, row.workload_key, row.method_key, row.cache_state, row.regime, row.split)
    best = func.first_value(row.us, type_=Double).over(
        partition_by=workload, order_by=(order, row.us)
    )
    shown = [each for each in row if each.name not in ("impossible", "split")]
    return select(*shown, case((usable, row.us / best)).label("ratio_to_best"))


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
            case((wrong, 1), else_=0).label("impossible"),
            case((split, group.c.decode_requests)).label("split"),
        )
        .select_from(with_origin(group, group.c.run, group.c.case_id, group.c.method_id))
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


def _runs_flat(_: str) -> Select[Any]:
    """A row per run."""
    facts = EnvironmentRow.facts
    versions = [
        facts["components"][name]["version"].as_string().label(f"{name.split('-')[0]}_version")
        for name in _PACKAGES
    ]

    def outcomes(condition: Column) -> Column:
        counted = select(func.count()).where(outcome.run == run.number, condition)
        return counted.scalar_subquery()

    bad = outcome.status.not_in((Status.OK, Status.REFUSED))
    return (
        select(
            *run_columns(),
            run.uuid,
            run.command,
            run.status,
            run.finished,
            source.subject,
            machine.kind,
            *(machine.facts[name].as_string().label(name) for name in ("driver", "cpu_model")),
            *(machine.facts[name].as_integer().label(name) for name in ("sm_count", "l2_bytes")),
            facts["python"].as_string().label("python_version"),
            facts["cuda"].as_string().label("cuda_version"),
            *versions,
            outcomes(outcome.status == Status.OK).label("ok"),
            outcomes(outcome.status == Status.REFUSED).label("refused"),
            outcomes(bad).label("failed"),
        )
        .join_from(RunRow, MachineRow, run.machine_id == machine.id)
        .join(SourceRow, run.source_id == source.id)
        .join(EnvironmentRow, run.environment_id == EnvironmentRow.id)
    )


def _history(dialect: str) -> Select[Any]:
    """A row per case, method, machine model, regime and version of the code."""
    row = view_table("results", dialect).c
    at_commit = row.commit_hash + func.coalesce(literal(" ") + row.dirty, "")
    version = func.coalesce(at_commit, literal("run ") + cast(row.run, String)).label("version")
    series = (row.case_key, row.method_key, row.machine_model, row.regime)
    listed = (
        select(
            *series,
            version,
            func.min(row.commit_hash).label("commit_hash"),
            func.min(row.dirty).label("dirty"),
            func.min(row.branch).label("branch"),
            func.min(row.gpu).label("gpu"),
            func.min(row.started).label("started"),
            func.count().label("num_runs"),
            geometric_mean(row.us).label("us"),
        )
        .where(row.us.is_not(None))
        .group_by(*series, version)
        .subquery("versions")
    )
    v = listed.c
    same = (v.case_key, v.method_key, v.machine_model, v.regime)
    before = func.lag(v.us, type_=Double).over(partition_by=same, order_by=(v.started, v.version))
    own = [each for each in case_columns(dialect) if each.key != "case_key"]
    return select(*v, (v.us / before).label("ratio_to_previous"), *own).join_from(
        listed, cases.id.table, v.case_key == cases.key
    )


VIEWS: Mapping[str, Callable[[str], Select[Any]]] = {
    "rounds": _rounds,
    "results": _results,
    "runs_flat": _runs_flat,
    "history": _history,
}
