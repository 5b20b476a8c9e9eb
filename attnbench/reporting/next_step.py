"""What to do about unclear verdicts, as text."""

import math
from collections.abc import Sequence

from attnbench.analysis.verdict import Comparison
from attnbench.results.diff import Diff
from attnbench.results.next_step import MOST_ROUNDS, NextStep
from attnbench.units import minutes_text, percent

_MARGINS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3)


def advice(diff: Diff) -> list[str]:
    """The last lines of a summary; `commands` belong below them."""
    unclear = diff.counts.get("unclear", 0)
    if not unclear:
        return []
    lines, step = _wider_margin(diff, unclear), diff.next_step
    if step is None:
        return [
            *lines,
            f"unclear: not even {MOST_ROUNDS} rounds on each side, measured alternately, would "
            "settle what lies so near the margin or spreads so far",
        ]
    if left := unclear - step.cases:
        cases = "1 unclear case needs" if left == 1 else f"{left} unclear cases need"
        lines.append(f"{cases} more than {MOST_ROUNDS} rounds on each side")
    lines += [f"{side.upper()}: the {side}'s environment" for side in _placeholders(step)]
    return [*lines, _how(step, unclear) + (":" if step.commands else "")]


def _wider_margin(diff: Diff, unclear: int) -> list[str]:
    """The margin within which half of the unclear cases are the same, or else any of them."""
    found = [row.kernel or row.comparison for row in diff.rows if row.verdict == "unclear"]
    reaches = [_reach(each) for each in found if each is not None]
    same = {margin: sum(reach < margin for reach in reaches) for margin in _MARGINS}
    chosen = [m for m, count in same.items() if 2 * count >= unclear] or [
        m for m in same if same[m]
    ]
    if not chosen:
        return []
    count, margin = same[chosen[0]], percent(chosen[0])
    which = "the unclear case" if unclear == 1 else f"{count} of {unclear} unclear cases"
    lies, are = ("lies", "it is") if count == 1 else ("lie", "they are")
    option = f"--margin {margin.replace(' ', '')}"
    return [f"{which} {lies} within {margin}: with {option} {are} the same"]


def _reach(found: Comparison) -> float:
    """The margin that its interval just fits into."""
    if not found.low or found.high is None:
        return math.inf
    return max(found.high, 1 / found.low) - 1


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
