"""Squares of winner maps: the winner's colour, the strength of its lead, and doubts as patterns."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.analysis.fields import Fields
from attnbench.analysis.ranking import Ranking
from attnbench.reporting.html.figures import Slots
from attnbench.reporting.html.sweeps import implementation
from attnbench.reporting.html.workloads import finding
from attnbench.reporting.ranking import interval_text
from attnbench.units import MISSING, three_digits

# A lead beyond each of these ratios of times has a stronger colour.
_STRENGTHS = (1.05, 1.25, 2.0)
_NUM_SLOTS = 8


@dataclass(frozen=True, slots=True)
class Square:
    """A workload's place on a map."""

    winner: str  # an implementation; tie, unclear or quickest if none is shown to win
    detail: str  # by how much, or between whom
    style: str  # classes of the style sheet
    slots: Sequence[int]  # the colours: of the winner, or of those that tie
    sentence: str  # all of it, with the interval
    workload: int  # its number


def square_of(ranking: Ranking, fields: Fields, slots: Slots, workload: int, auto: str) -> Square:
    """The square of a workload; `auto` says what vLLM's own choice loses."""
    winner, detail = _texts(ranking, fields)
    among = [implementation(c.case, fields) for c in ranking.at("best", "tie", "quickest", "alone")]
    colours = [slots.get(name, 0) % _NUM_SLOTS for name in among]
    behind = interval_text(ranking.next)
    sentence = finding(ranking, fields) + (f" [{behind}]" if behind != MISSING else "")
    sentence = "; ".join(filter(None, (sentence, auto)))
    return Square(winner, detail, _style(ranking, colours), colours, sentence, workload)


def _texts(ranking: Ranking, fields: Fields) -> tuple[str, str]:
    name = implementation(ranking.best.case, fields)
    if ranking.outcome in ("tied", "unclear"):
        among = [implementation(c.case, fields) for c in ranking.at("best", "tie", "unclear")]
        is_tie = ranking.outcome == "tied"
        return ("tie", " = ".join(among)) if is_tie else ("unclear", " or ".join(among))
    lead = f"{three_digits(lead_of(ranking))}x" if ranking.next else ""
    if ranking.outcome == "untested":
        return name, f"quickest, {lead}"
    return name, lead or "only one"


def _style(ranking: Ranking, colours: Sequence[int]) -> str:
    if ranking.outcome == "won":
        return f"won slot{colours[0]} strength{strength_of(lead_of(ranking))}"
    return {"tied": "tied", "unclear": "doubt"}.get(ranking.outcome, f"doubt slot{colours[0]}")


def strength_of(lead: float) -> int:
    """The strength of a colour that stands for a lead, from 0."""
    return sum(lead > limit for limit in _STRENGTHS)


def lead_of(ranking: Ranking) -> float:
    """How many times the winner's time the next one takes."""
    found = ranking.next and ranking.next.comparison
    return found.ratio if found else 1.0
