"""This machine as a worker sees it: its software, and the backends that can run."""

from dataclasses import dataclass
from pathlib import Path

from attnbench.families import FAMILIES
from attnbench.families.family import Family
from attnbench.kernels.registry import backends
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source, read_source
from attnbench.records import SELECTED, Outcome
from attnbench.running.cases import asked_by_default, cases_for
from attnbench.running.process import WorkerProcess
from attnbench.running.workers import (
    StartWorker,
    WorkerDied,
    Workers,
    WorkerTimedOut,
)


@dataclass(frozen=True, slots=True)
class Here:
    """One device of this machine."""

    machine: Machine
    environment: Environment
    source: Source


def look_here(device: str, source: Path | None = None) -> Here:
    """Ask a worker on `device`; if it cannot start, raises like a measuring command."""
    with WorkerProcess.start(device) as worker:
        return Here(worker.machine, worker.environment, read_source(source))


@dataclass(frozen=True, slots=True)
class Examination:
    """The result of an examination; machine and environment are None if the worker died."""

    machine: Machine | None
    environment: Environment | None
    source: Source
    backends: tuple[tuple[str, str, str | None], ...]  # family, name, why it cannot run
    failure: str | None  # how the worker died


def examine(device: str, start: StartWorker = WorkerProcess.start) -> Examination:
    """Ask a worker on `device`; if it dies, say how and still list the backends."""
    source = read_source(None)
    try:
        with Workers(start, device) as workers:
            worker = workers.worker()
            found = tuple(
                (family, backend, why)
                for family in FAMILIES
                for backend, why in _refusals(workers, FAMILIES[family])
            )
            return Examination(worker.machine, worker.environment, source, found, None)
    except (WorkerDied, WorkerTimedOut) as error:
        found = tuple(
            (family, backend.name, "not asked")
            for family in FAMILIES
            for backend in backends(family)
        )
        return Examination(None, None, source, found, str(error))


def _reason(outcome: Outcome | None) -> str | None:
    """Why a case cannot run; one that is measured as another backend's can."""
    return None if outcome is None or SELECTED in outcome.resolved else outcome.reason


def _refusals(workers: Workers, family: Family) -> list[tuple[str, str | None]]:
    """Each backend, and why it cannot run any of the family's default cases; None if it can."""
    cases = cases_for(asked_by_default(family), workers.machine.kind)
    refused = workers.refused(cases)
    refusals: dict[str, list[str | None]] = {}
    for case in cases:
        refusals.setdefault(case.backend, []).append(_reason(refused.get(case)))
    return [
        (name, None if None in refusals[name] else refusals[name][0]) for name in sorted(refusals)
    ]
