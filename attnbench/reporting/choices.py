"""What a sweep over a knob comes to: a line for each batch."""

from collections.abc import Sequence

from attnbench.analysis.choices import Best, Rival, best_choice, by_knob
from attnbench.analysis.fields import batch_text
from attnbench.analysis.series import Series
from attnbench.specs.case import Value
from attnbench.units import change_in_percent, seconds_column, three_digits

# By knob, what its best value is called.
KNOBS = {"threshold": "threshold", "num_splits": "splits"}


def choice_lines(timed: Sequence[Series]) -> list[str]:
    """For each knob that was swept, the best value for each batch, and auto's regret."""
    lines = []
    for knob, name in KNOBS.items():
        for group in by_knob(timed, knob):
            best = best_choice(group)
            if best is not None:
                lines.append(_line(best, name))
    return lines


def _line(best: Best, name: str) -> str:
    case = best.series.case
    unit, (time,) = seconds_column([best.series.time])
    text = f"{case.backend} {batch_text(case)}: best {name} {_text(best.value)} ({time} {unit})"
    if best.tied:
        text += f", tied with {', '.join(map(_text, best.tied))}"
    worse = [rival for rival in best.rivals if not rival.tied and rival.value is not None]
    if worse:
        text += f"; {', '.join(map(_slower, worse))}"
    return text + _regret(best)


def _regret(best: Best) -> str:
    """What the backend's own choice costs over the best; nothing where it was not measured."""
    if best.value is None:
        return "; auto's regret 0 %"
    auto = best.rival(None)
    if auto is None:
        return ""
    interval = ""
    if auto.low is not None and auto.high is not None:
        interval = f" ({_percent(auto.low)} to {_percent(auto.high)} %)"
    return f"; auto's regret {_percent(auto.ratio)} %{interval}"


def _percent(ratio: float) -> str:
    return change_in_percent(ratio)


def _slower(rival: Rival) -> str:
    return f"{_text(rival.value)} takes {three_digits(rival.ratio)}x"


def _text(value: Value | None) -> str:
    return "auto" if value is None else str(value)
