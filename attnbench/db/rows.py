"""Records to rows and back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row

from attnbench.db.base import Json
from attnbench.db.damage import readable
from attnbench.db.models import (
    CaseRow,
    EnvironmentRow,
    MachineRow,
    MethodRow,
    RunRow,
    SourceRow,
)
from attnbench.db.view_facts import batch_lengths, machine_peaks
from attnbench.passwords import without_password
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Measurement, Outcome, Run, RunStatus, Status
from attnbench.specs.case import Case, Value, content_hash
from attnbench.stats.median import median_interval
from attnbench.timing.finished import Finished
from attnbench.timing.method import Method

_SAMPLE = np.dtype("<f8")
# The columns of an outcome; its samples have a table of their own.
_OUTCOME = tuple(field.name for field in fields(Outcome) if field.name != "samples")


def machine_row(machine: Machine) -> MachineRow:
    """The row of a machine; a change of driver or setting makes another."""
    facts: dict[str, Any] = machine.as_facts()
    return MachineRow(
        key=content_hash(facts),
        machine_key=machine.key,
        model_key=machine.model_key,
        name=machine.name,
        kind=machine.kind,
        gpu_uuid=machine.gpu_uuid,
        hostname=machine.hostname,
        facts=facts,
        **machine_peaks(machine),
    )


def environment_row(environment: Environment) -> EnvironmentRow:
    """The row of an environment."""
    return EnvironmentRow(key=environment.key, facts=environment.as_facts())


def source_row(source: Source) -> SourceRow:
    """The row of a source."""
    facts = asdict(source)
    columns = {name: value for name, value in facts.items() if name != "path"}
    return SourceRow(key=content_hash(facts), facts=facts, **columns)


def case_row(case: Case) -> CaseRow:
    """The row of a case."""
    return CaseRow(
        key=case.key,
        family=case.family,
        backend=case.backend,
        batch=str(case.batch),
        workload_key=case.workload_key,
        canonical=case.canonical(),
        **batch_lengths(case.batch),
    )


def method_row(method: Method) -> MethodRow:
    """The row of a method."""
    facts = method.as_facts()
    return MethodRow(key=method.key, timer=method.timer, cache=method.cache, facts=facts)


def stored_case(key: str, canonical: Json) -> Case:
    """The case of a row."""
    with readable(f"case {key}"):
        return Case.from_canonical(dict(canonical))


def measurement_columns(
    finished: Finished, run: int, case_id: int, method_id: int, machine_id: int | None
) -> dict[str, Any]:
    """The columns of an outcome stored now, with the median of its samples if it is ok."""
    outcome = finished.outcome
    low = high = centre = None
    if outcome.status is Status.OK and outcome.samples:
        centre = median(outcome.samples)
        if len(outcome.samples) > 1:  # one sample has no interval
            low, high = median_interval(outcome.samples)
    return {
        "uuid": finished.uuid,
        "run": run,
        "case_id": case_id,
        "method_id": method_id,
        "machine_id": machine_id,
        "round": finished.round,
        "position": finished.position,
        "median": centre,
        "low": low,
        "high": high,
        "num_samples": len(outcome.samples),
        "stored": datetime.now(UTC),
        **_columns(outcome),
    }


def _columns(outcome: Outcome) -> dict[str, Any]:
    """The outcome's own columns, without its samples."""
    columns = {name: getattr(outcome, name) for name in _OUTCOME}
    columns |= {name: _without_nan(columns[name]) for name in ("errors", "durations", "guard")}
    columns |= {name: list(columns[name]) for name in ("labels", "kernels")}
    return columns | {"reason": _storable(outcome.reason), "resolved": dict(outcome.resolved)}


def measurement(
    row: Row[*tuple[Any, ...]], case: tuple[CaseRow, Case], method: MethodRow, machine: MachineRow
) -> Measurement:
    """The record of a row of the measurement table; the caller decodes each case once.

    A stored time that cannot be one, such as 0, is as good as none.
    """
    is_time = row.median is not None and 0 < row.median < math.inf
    return Measurement(
        id=row.id,
        uuid=row.uuid,
        run=row.run,
        case=case[1],
        case_key=case[0].key,
        workload_key=case[0].workload_key,
        method=method.facts,
        method_key=method.key,
        machine_key=machine.machine_key,
        machine_model=machine.model_key,
        machine_name=machine.name,
        round=row.round,
        position=row.position,
        outcome=_outcome(row),
        median=row.median if is_time else None,
        low=row.low if is_time else None,
        high=row.high if is_time else None,
        num_samples=row.num_samples,
        device=str(machine.facts.get("device", "")),
        gpu_uuid=machine.gpu_uuid,
        hostname=machine.hostname,
    )


def _outcome(row: Row[*tuple[Any, ...]]) -> Outcome:
    """The outcome without its samples."""
    columns = {name: getattr(row, name) for name in _OUTCOME}
    columns |= {name: _numbers(columns[name]) for name in ("errors", "durations", "guard")}
    columns |= {name: tuple(columns[name]) for name in ("labels", "kernels")}
    return Outcome(**columns | {"status": Status(row.status)})


def run_record(
    row: RunRow,
    machine: MachineRow,
    environment: EnvironmentRow,
    source: SourceRow,
    counts: Mapping[Status, int],
) -> Run:
    """The record of a run and what it refers to."""
    with readable(f"run {row.number}"):
        Machine.from_facts(machine.facts)
        Environment.from_facts(environment.facts)
        return Run(
            number=row.number,
            uuid=row.uuid,
            command=row.command,
            argv=tuple(map(without_password, row.argv)),  # older releases stored it whole
            label=row.label,
            status=RunStatus(row.status),
            started=row.started,
            finished=row.finished,
            options=row.options,
            machine_key=machine.machine_key,
            machine_model=machine.model_key,
            machine_name=machine.name,
            branch=source.branch,
            commit=source.commit,
            machine=machine.facts,
            environment=environment.facts,
            source=source.facts,
            counts=counts,
        )


def encode_samples(samples: Sequence[float]) -> bytes:
    """Little-endian float64, bit for bit."""
    return np.asarray(samples, dtype=_SAMPLE).tobytes()


def decode_samples(values: bytes) -> NDArray[np.float64]:
    """The inverse of `encode_samples`."""
    return np.frombuffer(values, dtype=_SAMPLE).astype(np.float64, copy=False)


def _storable(text: str) -> str:
    """The text, escaped where a text column cannot hold it."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _without_nan(numbers: Mapping[str, float]) -> dict[str, Value]:
    """NaN and infinity as text: JSON has neither."""
    return {name: x if math.isfinite(x) else str(x) for name, x in numbers.items()}


def _numbers(stored: Json) -> dict[str, float]:
    return {name: float(x) for name, x in stored.items()}
