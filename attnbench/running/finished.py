"""Finished: an outcome with its place in a plan."""

from dataclasses import dataclass

from attnbench.records import Outcome
from attnbench.specs.case import Case
from attnbench.timing.method import Method


@dataclass(frozen=True, slots=True)
class Finished:
    """One outcome with its place in the plan."""

    case: Case
    method: Method
    round: int
    position: int  # order within the plan
    outcome: Outcome
