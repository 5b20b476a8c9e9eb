"""Messages between the command's process and its worker."""

from dataclasses import dataclass

from attnbench.kernels.mutants.trial import Trial
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Outcome
from attnbench.specs.case import Case
from attnbench.timing.method import Method


@dataclass(frozen=True, slots=True)
class Hello:
    """The worker's first message: its machine and software."""

    machine: Machine
    environment: Environment
    source: Source | None  # of a library that its environment runs from a checkout


@dataclass(frozen=True, slots=True)
class Declined:
    """The worker's only message: why it cannot use the device."""

    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks which of these cases cannot run, or are measured as another of them."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Refusals:
    """The outcome of each probed case that is not to be run, None for the others."""

    outcomes: tuple[Outcome | None, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One round of one case."""

    case: Case
    method: Method
    seed: int
    num_layers: int | None
    profile_memory: bool
    host: bool
    first: bool = False  # of a run's rounds, which alone checks odd lengths


@dataclass(frozen=True, slots=True)
class MeasureSentinels:
    """Asks for the sentinels; answered with their facts."""


@dataclass(frozen=True, slots=True)
class PlantFaults:
    """Asks for mutants of some kernels; answered with Planted."""


@dataclass(frozen=True, slots=True)
class Planted:
    """What the check said to each mutant."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Phase:
    """The phase that a job has begun, prepare or measure, each with its own time limit."""

    name: str


@dataclass(frozen=True, slots=True)
class Done:
    """A job's outcome, and whether the worker can take another."""

    outcome: Outcome
    healthy: bool
