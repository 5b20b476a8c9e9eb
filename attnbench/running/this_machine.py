"""What this machine would measure with: hardware, software, code under test."""

from dataclasses import dataclass
from pathlib import Path

from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source, read_source
from attnbench.running.process import WorkerProcess


@dataclass(frozen=True, slots=True)
class Here:
    """One device of this machine."""

    machine: Machine
    environment: Environment
    source: Source


def look_here(device: str, source: Path | None = None) -> Here:
    """Ask a worker on `device`; raises as a measuring command does where it cannot start."""
    with WorkerProcess.start(device) as worker:
        return Here(worker.machine, worker.environment, read_source(source))
