"""Columns that the views share, as SQL for SQLite and PostgreSQL.

Names are those of --where, apart from what SQL reserves: case_key, commit_hash, window_size.
"""

from dataclasses import fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Text,
    and_,
    case,
    cast,
    collate,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from attnbench.db.models import (
    CaseRow,
    MachineRow,
    MeasurementRow,
    MethodRow,
    RunRow,
    SourceRow,
)
from attnbench.labels import Label
from attnbench.provenance.peaks import TOLERANCE
from attnbench.specs.case import FLAT_FIELDS, Case
from attnbench.specs.shape import DIMS

Column = ColumnElement[Any]
Columns = ReadOnlyColumnCollection[str, Any]

US = 1e6  # microseconds a second
_LARGEST = 1e300  # a stored time that is infinite is none
# Fields of a case by how their JSON reads; all others are texts.
_READ = {
    **dict.fromkeys((*DIMS, "block_size", "window", "index_topk", "scope_version"), "as_integer"),
    **dict.fromkeys(("softcap", "pool_gib"), "as_float"),
    "sinks": "as_boolean",
}
_DEFAULTS = {f.name: f.default for f in fields(Case)} | {"scope_version": 1}
_RESERVED = {"window": "window_size"}
_NAMES = ("family", "backend", "batch")
_STORED = (*_NAMES, "num_requests", "num_tokens", "num_kv_tokens", "q_len", "kv_len")

outcome = MeasurementRow.__table__.c
cases = CaseRow.__table__.c
method = MethodRow.__table__.c
run = RunRow.__table__.c
machine = MachineRow.__table__.c
source = SourceRow.__table__.c


def time_of(of: Columns) -> Column:
    """Seconds per call of outcomes; a stored time that cannot be one is as good as none."""
    return case((and_(of.median > 0, of.median < _LARGEST), of.median))


TIME = time_of(outcome)
REGIME = case(
    (
        or_(
            method.facts["regime"].as_string() == "sustained",
            cast(outcome.labels, Text).like(f'%"{Label.SUSTAINED}"%'),
        ),
        "sustained",
    ),
    else_="burst",
)


def rates(flops: Column, moved: Column, seconds: Column) -> list[Column]:
    """Useful work over the time; without FLOP there is no rate of them."""
    return [
        (func.nullif(flops, 0, type_=Double()) / seconds / 1e12).label("tflops"),
        (func.nullif(moved, 0, type_=Double()) / seconds / 1e9).label("gbps"),
    ]


def run_columns() -> list[Column]:
    """What identifies the run, its code and its machine."""
    return [
        run.number.label("run"),
        run.label,
        run.started,
        source.branch,
        source.commit.label("commit_hash"),
        source.dirty,
        machine.name.label("gpu"),
        machine.gpu_uuid,
        machine.hostname,
        machine.model_key.label("machine_model"),
    ]


def case_columns(dialect: str) -> list[Column]:
    """Every field of the case, defaults included, and the knobs that are set as a JSON object."""
    plain = [cases[name].label(name) for name in _STORED]
    names = [name for name in (*DIMS, *FLAT_FIELDS) if name not in _STORED]
    return [
        cases.key.label("case_key"),
        cases.workload_key,
        *plain,
        *(field(name).label(_RESERVED.get(name, name)) for name in names),
        _knobs(dialect).label("knobs"),
    ]


def field(name: str) -> Column:
    """A field of the case; its default where the stored case leaves it out."""
    value: Column = getattr(cases.canonical[name], _READ.get(name, "as_string"))()
    default = _DEFAULTS.get(name)
    return value if default is None or name in (*DIMS, "dtype") else func.coalesce(value, default)


def method_columns() -> list[Column]:
    """How the case was timed."""
    return [method.key.label("method_key"), method.timer, method.cache]


def with_origin(outcomes: FromClause) -> FromClause:
    """Outcomes, or groups of them, joined with their run, code, machine, case and method."""
    of = outcomes.c
    joined = outcomes.join(RunRow, of.run == run.number).join(CaseRow, of.case_id == cases.id)
    joined = joined.join(MethodRow, of.method_id == method.id)
    card = func.coalesce(of.machine_id, run.machine_id)
    return joined.join(MachineRow, card == machine.id).join(SourceRow, run.source_id == source.id)


def geometric_mean(values: Column) -> Column:
    """Of the values of a group, without NULL; SQLite needs its math functions for it."""
    return func.exp(func.avg(func.ln(values)), type_=Double)


def labels(dialect: str, of: FromClause, *same: Column) -> Column:
    """The different labels of `of`'s outcomes, ordered and with commas between; empty for none.

    Its outcomes are those of the enclosing statement, or with `same` those that meet it.
    """
    is_sqlite = dialect == "sqlite"
    each = func.json_each if is_sqlite else func.json_array_elements_text
    listed = each(of.c.labels).table_valued("value")
    # By bytes, as SQLite orders: the locale of a server may not.
    label = collate(cast(listed.c.value, Text), "binary" if is_sqlite else "C").label("label")
    origin = (of, listed) if same else (listed,)
    found = select(label).distinct().order_by(label).select_from(*origin).where(*same)
    name = found.correlate_except(*origin).subquery().c.label
    return select(func.coalesce(_joined(dialect, name), "")).scalar_subquery()


def _joined(dialect: str, texts: Column) -> Column:
    """The texts of rows with commas between, in their order; NULL for none."""
    if dialect == "sqlite":
        return func.group_concat(texts)
    return func.string_agg(texts, literal_column("','"))


def _knobs(dialect: str) -> Column:
    """As compact JSON in both, in the stored order: JSONB would order and space it its own way."""
    names = dict.fromkeys([*_NAMES, *DIMS, *FLAT_FIELDS])
    if dialect == "sqlite":
        paths = (f"$.{name}" for name in names)
        return func.json_remove(cases.canonical, *paths, type_=Text())
    found = func.json_each(cases.canonical).table_valued("key", "value")
    pair = cast(func.to_json(found.c.key), Text) + ":" + cast(found.c.value, Text)
    text: Column = literal_column("'{'") + func.coalesce(_joined(dialect, pair), "") + "}"
    return select(text).where(found.c.key.not_in(list(names))).scalar_subquery()


def roofline_share(flops: Column, moved: Column, seconds: Column, cache_state: Column) -> Column:
    """The least time that the machine's peaks allow over the time."""
    dtype, in_fp8 = field("dtype"), field("kv_cache_dtype").like("fp8%")
    by_dtype = case((dtype == "fp32", machine.flops_fp32), else_=machine.flops_16_bit)
    peak = func.coalesce(case((in_fp8, machine.flops_fp8)), by_dtype)
    compute, memory = flops / peak, moved / machine.bytes_per_second
    return case((compute > memory, compute / seconds), (cache_state == "cold", memory / seconds))


def is_above(roofline: Column) -> Column:
    """Whether a time is impossible by its share of the roofline."""
    return roofline > 1 / TOLERANCE


def labels_with_above_roofline(found: Column, condition: Column) -> Column:
    """The labels, with that of an impossible time where it is; it is the first by alphabet."""
    lacks = found.not_like(f"%{Label.ABOVE_ROOFLINE}%")
    with_it = func.rtrim(literal(f"{Label.ABOVE_ROOFLINE},") + found, ",")
    return case((and_(condition, lacks), with_it), else_=found).label("labels")
