"""What `doctor` knows: the machine, the software, and each backend's word on the default case."""

from dataclasses import dataclass

from attnbench.kernels.registry import FAMILIES, backends
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source, read_source
from attnbench.running.cases import DEFAULT_BATCHES, DEFAULT_DTYPE
from attnbench.running.plan import Limits
from attnbench.running.process import WorkerDied, WorkerProcess, WorkerTimedOut
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found; machine and environment are None where the worker died."""

    machine: Machine | None
    environment: Environment | None
    source: Source
    backends: tuple[tuple[str, str, str | None], ...]  # family, name, why it cannot run
    failure: str | None  # how the worker died


def examine(device: str) -> Examination:
    """Ask a worker on `device`; if it dies, tell how and list the backends all the same."""
    source = read_source(None)
    try:
        with WorkerProcess(device, Limits()) as worker:
            cases = _default_cases(worker.machine.kind)
            refusals = worker.probe(cases)
            found = tuple(
                (case.family, case.backend, why) for case, why in zip(cases, refusals, strict=True)
            )
            return Examination(worker.machine, worker.environment, source, found, None)
    except (WorkerDied, WorkerTimedOut) as error:
        found = tuple(
            (family, backend.name, "not asked")
            for family in FAMILIES
            for backend in backends(family)
        )
        return Examination(None, None, source, found, str(error))


def _default_cases(kind: str) -> tuple[Case, ...]:
    """Each backend's first default case on that kind of device."""
    return tuple(
        Case(
            family=family,
            backend=backend.name,
            batch=parse_batch_spec(DEFAULT_BATCHES[family, kind].split()[0]),
            shape=MlaShape() if family == "mla" else AttnShape(),
            dtype=DEFAULT_DTYPE[kind],
            **backend.needs,  # type: ignore[arg-type]
        )
        for family in FAMILIES
        for backend in backends(family)
    )
