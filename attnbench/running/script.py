"""Scripts: the order in which a run's cases are measured, apart from where that happens.

A script is a generator. It yields what is to be done next and goes on when that is stored.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from attnbench.records import Outcome
from attnbench.running.messages import Probe
from attnbench.specs.case import Case
from attnbench.timing.method import Method


@dataclass(frozen=True, slots=True)
class Turn:
    """A place of a plan: measure the case."""

    case: Case
    method: Method
    round: int
    position: int  # within the plan


@dataclass(frozen=True, slots=True)
class Known:
    """A place whose outcome is known without measuring."""

    turn: Turn
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Renew:
    """What follows starts in a fresh worker, for one of the runs that take turns."""

    side: int = 0


# A script gets the refusals, by case, as the answer to a Probe.
Ask = Turn | Known | Renew | Probe
Script = Generator[Ask, Any, None]


def next_ask(script: Script, answer: object) -> Ask | None:
    """The next thing that a script asks for, given the answer to the last; None at its end."""
    try:
        return script.send(answer)
    except StopIteration:
        return None


def counted(script: Script) -> Generator[Ask, Any, int]:
    """The script, which then returns for how many places it asked."""
    count, answer = 0, None
    while (ask := next_ask(script, answer)) is not None:
        count += isinstance(ask, Turn | Known)
        answer = yield ask
    return count
