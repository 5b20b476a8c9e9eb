"""The tables, typed. Rows never leave `attnbench.db`: its functions return records.

Content that many rows share (machine, environment, source, case, method) is stored once, found by
its hash. Run numbers and ids hold within one database; UUIDs hold across databases.
"""

from datetime import datetime

from sqlalchemy import (
    DDL,
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    event,
)
from sqlalchemy.orm import Mapped, mapped_column

from attnbench.db.base import Base, Json, Keyed


class MachineRow(Keyed):
    """A GPU or CPU in a host, with its driver and settings at the time."""

    __tablename__ = "machine"

    machine_key: Mapped[str] = mapped_column(String(64))  # whatever its settings
    model_key: Mapped[str] = mapped_column(String(64))
    name: Mapped[str]
    kind: Mapped[str]
    gpu_uuid: Mapped[str | None]
    hostname: Mapped[str]
    facts: Mapped[Json]
    # For the views, by the release that stored or migrated the row; NULL if unknown.
    bytes_per_second: Mapped[float | None]
    flops_16_bit: Mapped[float | None]
    flops_fp32: Mapped[float | None]
    flops_fp8: Mapped[float | None]


class EnvironmentRow(Keyed):
    """Versions of all software that ran."""

    __tablename__ = "environment"

    facts: Mapped[Json]


class SourceRow(Keyed):
    """The state of the code under test."""

    __tablename__ = "source"

    origin: Mapped[str]
    repository: Mapped[str | None]
    branch: Mapped[str | None]
    commit: Mapped[str | None]
    dirty: Mapped[str | None]
    subject: Mapped[str | None]
    facts: Mapped[Json]


class RunRow(Base):
    """One command. Its number is never used again, even after deletion."""

    __tablename__ = "run"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  (SQLAlchemy's own name)

    number: Mapped[int] = mapped_column(primary_key=True, init=False)
    uuid: Mapped[str] = mapped_column(String(32), unique=True)
    command: Mapped[str]
    argv: Mapped[list[str]]
    label: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(16))
    started: Mapped[datetime]
    finished: Mapped[datetime | None]
    options: Mapped[Json]
    plan: Mapped[Json]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machine.id"))
    environment_id: Mapped[int] = mapped_column(ForeignKey("environment.id"))
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id"))


class CaseRow(Keyed):
    """A case as requested."""

    __tablename__ = "case"

    family: Mapped[str]
    backend: Mapped[str]
    batch: Mapped[str]
    workload_key: Mapped[str] = mapped_column(String(64))
    canonical: Mapped[Json]
    # Of the batch, for the views; NULL if a damaged file's batch cannot be read.
    num_requests: Mapped[int | None]
    num_tokens: Mapped[int | None] = mapped_column(BigInteger)
    num_kv_tokens: Mapped[int | None] = mapped_column(BigInteger)
    q_len: Mapped[int | None] = mapped_column(BigInteger)
    kv_len: Mapped[int | None] = mapped_column(BigInteger)


class MethodRow(Keyed):
    """How cases were timed."""

    __tablename__ = "method"

    timer: Mapped[str]
    cache: Mapped[str]
    facts: Mapped[Json]


class MeasurementRow(Base):
    """The outcome of a case in a round; seconds, bytes and FLOP per call."""

    __tablename__ = "measurement"
    __table_args__ = (
        UniqueConstraint("run", "case_id", "method_id", "round"),
        # For counts by status, and whether a run has an ok outcome, without reading the rows.
        Index("ix_measurement_run_status", "run", "status"),
        # For the runs that measured a case.
        Index("ix_measurement_case_id", "case_id", "method_id", "run"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    uuid: Mapped[str] = mapped_column(String(32), unique=True)
    run: Mapped[int] = mapped_column(ForeignKey("run.number", ondelete="CASCADE"))
    case_id: Mapped[int] = mapped_column(ForeignKey("case.id"))
    method_id: Mapped[int] = mapped_column(ForeignKey("method.id"))
    round: Mapped[int]
    position: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str]
    median: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    num_samples: Mapped[int]
    calls_per_sample: Mapped[int]
    sets: Mapped[int]
    cache_state: Mapped[str]
    touched_bytes: Mapped[int] = mapped_column(BigInteger)
    flops: Mapped[float]
    bytes: Mapped[float]
    decode_requests: Mapped[int]
    decode_tokens: Mapped[int]
    prefill_requests: Mapped[int]
    prefill_tokens: Mapped[int]
    warmup_calls: Mapped[int]
    peak_memory: Mapped[int | None] = mapped_column(BigInteger)
    resolved: Mapped[Json]
    labels: Mapped[list[str]]
    errors: Mapped[Json]
    durations: Mapped[Json]
    stored: Mapped[datetime]
    # Added after schema 0001; the defaults are for its rows.
    footprint_ratio: Mapped[float | None]
    guard: Mapped[Json] = mapped_column(server_default="{}")
    kernels: Mapped[list[str]] = mapped_column(server_default="[]")
    kernel_seconds: Mapped[float | None]
    enqueue_seconds: Mapped[float | None]
    plan_seconds: Mapped[float | None]
    # The row of the card, if another than the run's machine. SQLite could add a foreign key only by
    # copying the table, and no machine is ever deleted.
    machine_id: Mapped[int | None]


# For the other cards of a run; most runs have none. As text, because an Index with a condition for
# PostgreSQL imports all of its drivers, a tenth of a report's time.
_CARD_INDEX = (
    "CREATE INDEX ix_measurement_card ON measurement (run, machine_id) WHERE machine_id IS NOT NULL"
)
event.listen(MeasurementRow.__table__, "after_create", DDL(_CARD_INDEX))  # type: ignore[no-untyped-call]


class SampleRow(Base):
    """A measurement's samples, in their own table because reports never read them."""

    __tablename__ = "sample"

    measurement_id: Mapped[int] = mapped_column(
        ForeignKey("measurement.id", ondelete="CASCADE"), primary_key=True
    )
    values: Mapped[bytes] = mapped_column(LargeBinary)  # little-endian float64, seconds


class SentinelRow(Base):
    """Rates of the device at the start or end of a run."""

    __tablename__ = "sentinel"

    run: Mapped[int] = mapped_column(ForeignKey("run.number", ondelete="CASCADE"), primary_key=True)
    moment: Mapped[str] = mapped_column(String(8), primary_key=True)  # start or end
    facts: Mapped[Json]


class ConclusionRow(Base):
    """A study's latest conclusion; it can be computed again from the run's outcomes."""

    __tablename__ = "conclusion"

    run: Mapped[int] = mapped_column(ForeignKey("run.number", ondelete="CASCADE"), primary_key=True)
    facts: Mapped[Json]
    created: Mapped[datetime]


class NoiseRow(Base):
    """The measured difference of equal code: one stratum of one family on one device."""

    __tablename__ = "noise"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    uuid: Mapped[str] = mapped_column(String(32), unique=True)
    machine_key: Mapped[str] = mapped_column(String(64))
    machine_model: Mapped[str] = mapped_column(String(64))
    family: Mapped[str]
    stratum: Mapped[str]
    floor: Mapped[float]
    session_sd: Mapped[float | None]
    num_cells: Mapped[int]
    facts: Mapped[Json]
    created: Mapped[datetime]
