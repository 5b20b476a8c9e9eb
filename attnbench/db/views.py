"""SQL views for other tools: `rounds`, `results`, `runs_flat`, `history`.

docs/reference/schema.md describes them. They hold what SQL can compute as `report` does: times,
ratios of times, shares of the roofline. Verdicts weigh the machine's noise, and stay with `report`
and `diff`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from operator import add
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Double,
    Select,
    String,
    Table,
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
    RunRow,
    SourceRow,
)
from attnbench.db.view_columns import (
    REGIME,
    TIME,
    US,
    Column,
    Columns,
    case_columns,
    cases,
    geometric_mean,
    is_above,
    labels,
    labels_with_above_roofline,
    machine,
    method_columns,
    outcome,
    rates,
    roofline_share,
    run,
    run_columns,
    source,
    with_origin,
)
from attnbench.db.view_results import results
from attnbench.records import Status

_PACKAGES = ("torch", "triton", "vllm", "flashinfer-python", "attnbench")


def create_views(connection: Connection) -> None:
    """Create all views; each may read those before it."""
    for statement in _statements(connection.engine.url.drivername):
        connection.exec_driver_sql(statement)


def drop_views(connection: Connection) -> None:
    """Drop the views that exist: tables under them are about to change."""
    present = set(inspect(connection).get_view_names())
    for name in reversed(list(VIEWS)):
        if name in present:
            connection.exec_driver_sql(f"DROP VIEW {name}")


def view_table(name: str, dialect: str) -> Table:
    """A view with its typed columns, to select from."""
    return _create(name, dialect).table


@cache  # 60 ms, and tests create thousands of databases
def _statements(driver: str) -> Sequence[str]:
    """The statement that creates each view."""
    dialect = URL.create(driver).get_dialect()()
    return [str(_create(name, dialect.name).compile(dialect=dialect)) for name in VIEWS]


def _create(name: str, dialect: str) -> CreateView:
    return CreateView(VIEWS[name](dialect), name)


def _rounds(dialect: str) -> Select[Any]:
    """A row per outcome."""
    is_ok = outcome.status == Status.OK
    roofline = roofline_share(outcome.flops, outcome.bytes, TIME, outcome.cache_state)
    listed = labels(dialect, MeasurementRow.__table__)
    names = ("cache_state", "decode_requests", "prefill_requests")
    reached = {name: outcome[name] for name in names} | {"regime": REGIME}
    return select(
        *run_columns(),
        *case_columns(dialect),
        *method_columns(),
        (outcome.round + 1).label("round"),  # as in all other output
        outcome.position,
        outcome.status,
        func.nullif(outcome.reason, "", type_=String()).label("reason"),
        (TIME * US).label("us"),
        (outcome.low * US).label("low"),
        (outcome.high * US).label("high"),
        outcome.num_samples,
        *rates(outcome.flops, outcome.bytes, TIME),
        *(case((is_ok, column)).label(name) for name, column in reached.items()),
        labels_with_above_roofline(listed, is_above(roofline)),
        (outcome.kernel_seconds * US).label("kernel_us"),
        (outcome.enqueue_seconds * US).label("enqueue_us"),
        (outcome.plan_seconds * US).label("plan_us"),
        outcome.peak_memory.label("peak_memory_bytes"),
        outcome.stored,
        outcome.uuid,
    ).select_from(with_origin(MeasurementRow.__table__))


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
    row, runs = view_table("results", dialect).c, view_table("runs_flat", dialect).c
    version = _version(row, runs).label("version")
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
        .join_from(row.us.table, runs.run.table, row.run == runs.run)
        .where(row.ratio_to_best.is_not(None))  # an impossible time has none
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


def _version(row: Columns, runs: Columns) -> Column:
    """The commit with its changes; without one the release that was measured, or the run."""
    at_commit = row.commit_hash + func.coalesce(literal(" ") + row.dirty, "")
    packages = {name: runs[f"{name}_version"] for name in ("vllm", "flashinfer", "torch", "triton")}
    texts = [func.coalesce(literal(f", {name} ") + found, "") for name, found in packages.items()]
    has_kernels = or_(packages["vllm"].is_not(None), packages["flashinfer"].is_not(None))
    release = case((has_kernels, func.substr(reduce(add, texts), len(", ") + 1)))
    return func.coalesce(at_commit, release, literal("run ") + cast(row.run, String))


VIEWS: Mapping[str, Callable[[str], Select[Any]]] = {
    "rounds": _rounds,
    "results": results,
    "runs_flat": _runs_flat,
    "history": _history,
}
