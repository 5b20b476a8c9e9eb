"""One line per outcome, while a run goes on."""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from statistics import median

from attnbench.analysis.fields import batch_text
from attnbench.printable import printable
from attnbench.provenance.machine import Machine
from attnbench.reasons import in_short
from attnbench.specs.case import Case
from attnbench.specs.shape import DIMS
from attnbench.stats.median import median_interval
from attnbench.timing.finished import Finished
from attnbench.units import minutes_text, seconds_column

_LONG = 10.0  # seconds; less needs no forecast


class TimeLeft:
    """Foresees the rest of a run from its first round, in which every case has its share.

    Neither what comes before the first outcome nor the checks of odd lengths come again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._start = clock, clock()
        self._begun = self._start
        self._once, self._cards = 0.0, set[str]()
        self._finished, self._said = 0, False

    def after(self, finished: Finished, remaining: Callable[[], int]) -> str | None:
        """Once, at the second round of a run whose first was long, the time that is left."""
        now = self._clock()
        self._add(finished, now)
        if finished.round == 0 or self._said or now - self._start < _LONG:
            return None
        self._said = True
        if (left := remaining()) < 2:
            return None
        again = now - self._begun - self._once / len(self._cards)
        seconds = minutes_text(left * again / self._finished)
        return f"{left} outcomes are left, ~{seconds} at the pace so far"

    def _add(self, finished: Finished, now: float) -> None:
        durations = finished.outcome.durations
        # Workers of a round each import again: then what came before the first outcome does too.
        if self._finished == 0 and finished.method.isolate != "rounds":
            self._begun = now - sum(durations.values())
        self._once += durations.get("check_odd_lengths", 0.0)
        self._cards.add(finished.card)
        self._finished += 1


def outcome_line(finished: Finished) -> str:
    """The case, the round, and the time or why there is none."""
    case, outcome = finished.case, finished.outcome
    card = f"{finished.card}  " if finished.card else ""
    what = f"{card}round {finished.round + 1}  {case.backend} {batch_text(case)} {asked_text(case)}"
    if not outcome.samples:
        return f"{what}  {outcome.status}: {printable(in_short(outcome.reason))}"
    time = median(outcome.samples)
    low, high = median_interval(outcome.samples)
    unit, (text,) = seconds_column([time])
    labels = "".join(f"  {label}" for label in outcome.labels)
    reach = 50 * (high - low) / time
    spread = f"+-{reach:.1f} %" if reach <= 100 else ">100 %"
    return f"{what}  {text} {unit} {spread}{labels}"


def asked_text(case: Case, said_elsewhere: Container[str] = ()) -> str:
    """The dtype and the backend's other settings."""
    unsaid = {"family", "backend", "batch", "scope_version", "knobs", *DIMS}
    said = {name: value for name, value in case.canonical().items() if name not in unsaid}
    return " ".join(
        f"{name}={value}" if name != "dtype" else str(value)
        for name, value in {**said, **dict(case.knobs)}.items()
        if name not in said_elsewhere
    )


def where_text(machine: Machine, cards: Sequence[str]) -> str:
    """The machine, and the names of the cards if several share a run."""
    if not cards:
        return machine.label
    number = f"{len(cards)} x " if len(cards) > 1 else ""
    return f"{number}{machine.label}: {', '.join(cards)}"


def cards_text(measured: Mapping[str, int]) -> str:
    """How many outcomes each card has given."""
    return ", ".join(f"{name} {count}" for name, count in measured.items())
