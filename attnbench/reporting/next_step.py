"""What to do about unclear verdicts, as text."""

from collections.abc import Sequence

from attnbench.results.diff import Diff
from attnbench.results.next_step import MOST_ROUNDS, NextStep
from attnbench.units import minutes_text


def advice(diff: Diff) -> list[str]:
    """The last lines of a summary; `commands` belong below them."""
    unclear = diff.counts.get("unclear", 0)
    if not unclear:
        return []
    step = diff.next_step
    if step is None:
        return [
            f"unclear: not even {MOST_ROUNDS} rounds on each side, measured alternately, would "
            "settle what lies so near the margin or spreads so far"
        ]
    lines = []
    if left := unclear - step.cases:
        cases = "1 unclear case needs" if left == 1 else f"{left} unclear cases need"
        lines.append(f"{cases} more than {MOST_ROUNDS} rounds on each side")
    lines += [f"{side.upper()}: the {side}'s environment" for side in _placeholders(step)]
    return [*lines, _how(step, unclear) + (":" if step.commands else "")]


def commands(diff: Diff) -> Sequence[str]:
    """The command lines to paste, never wrapped."""
    return diff.next_step.commands if diff.next_step else ()


def _how(step: NextStep, unclear: int) -> str:
    of = f"{step.cases} of {unclear} unclear cases" if unclear > 1 else "the unclear case"
    if step.interleaved:
        how = f"measure both sides alternately, {step.rounds} rounds each"
    else:
        how = f"measure {step.rounds} rounds on each side"
    took = [] if step.seconds is None else [f"about {minutes_text(step.seconds)}"]
    if step.interleaved:
        took.append(f"{2 * step.rounds * max(1, len(step.commands))} starts of a worker")
    return f"to settle {of}, {how}" + (f" ({', and '.join(took)})" if took else "")


def _placeholders(step: NextStep) -> list[str]:
    words = " ".join(step.commands)
    return [side for side in ("base", "head") if f" {side.upper()}/bin/python" in words]
