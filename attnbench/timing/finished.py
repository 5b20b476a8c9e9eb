"""Finished: an outcome with its place in a plan."""

from dataclasses import dataclass, field
from uuid import uuid4

from attnbench.provenance.machine import Machine
from attnbench.records import Outcome
from attnbench.specs.case import Case
from attnbench.timing.method import Method


@dataclass(frozen=True, slots=True)
class Finished:
    """One outcome with its place in the plan.

    Its UUID lets it be written again, and stored once, if a server was lost before it said that it
    had stored it.
    """

    case: Case
    method: Method
    round: int
    position: int  # order within the plan
    outcome: Outcome
    machine: Machine | None = None  # of its card, if another than the run's
    card: str = ""  # its name, if several share the run
    uuid: str = field(default_factory=lambda: uuid4().hex, compare=False)
