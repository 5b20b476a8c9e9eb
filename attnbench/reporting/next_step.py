"""What to do about unclear verdicts, as text."""

import math
from collections.abc import Sequence

from attnbench.analysis.verdict import Comparison
from attnbench.results.diff import Diff, Row
from attnbench.results.next_step import MOST_ROUNDS, NextStep
from attnbench.units import minutes_text, percent

_MARGINS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3)


def advice(diff: Diff) -> list[str]:
    """The last lines of a summary; `commands` belong below them."""
    rows = [row for row in diff.rows if row.verdict == "unclear"]
    if not rows:
        return []
    lines, step, unclear = _wider_margin(rows), diff.next_step, len(rows)
    if step is None:
        return [
            *lines,
            f"even {MOST_ROUNDS} rounds on each side, measured alternately, would not settle what "
            "is unclear: it is too near the margin, or too noisy",
        ]
    if left := unclear - step.cases:
        cases = "1 unclear case needs" if left == 1 else f"{left} unclear cases need"
        lines.append(f"{cases} more than {MOST_ROUNDS} rounds on each side")
    lines += [f"{side.upper()}: the {side}'s environment" for side in _placeholders(step)]
    return [*lines, _how(step, rows) + (":" if step.commands else "")]


def _wider_margin(rows: Sequence[Row]) -> list[str]:
    """The margin within which half of these cases, all unclear, are the same, or else any.

    A case that has probably changed is none that a margin is to hide.
    """
    unclear = len(rows)
    if not (rows := [row for row in rows if _may_be_equal(row.decisive)]):
        return []
    reaches = [_reach(row.decisive) for row in rows]
    same = {margin: sum(reach < margin for reach in reaches) for margin in _MARGINS}
    enough = (len(rows) + 1) // 2 if 2 * same[_MARGINS[-1]] >= len(rows) else 1
    margin = next((margin for margin, count in same.items() if count >= enough), None)
    if margin is None:
        return _too_noisy(rows)
    which = "the unclear case" if unclear == 1 else f"{same[margin]} of {unclear} unclear cases"
    lies, are = ("lies", "it is") if same[margin] == 1 else ("lie", "they are")
    text = percent(margin)
    option = f"--margin {text.replace(' ', '')}"
    return [f"{which} {lies} within {text}: with {option} {are} the same"]


def _too_noisy(rows: Sequence[Row]) -> list[str]:
    """Of single rounds nothing shows that they spread so far."""
    if _are_single(rows):
        return []
    most = percent(_MARGINS[-1])
    return [f"no unclear case lies within {most}: measure while the machine is quieter"]


def _are_single(rows: Sequence[Row]) -> bool:
    return any(row.cell is None or row.cell.least_rounds == 1 for row in rows)


def _may_be_equal(found: Comparison | None) -> bool:
    if found is None or found.low is None or found.high is None:
        return True
    return found.low <= 1 <= found.high


def _reach(found: Comparison | None) -> float:
    """The margin that its interval just fits into."""
    if found is None or not found.low or found.high is None:
        return math.inf
    return max(found.high, 1 / found.low) - 1


def commands(diff: Diff) -> Sequence[str]:
    """The command lines to paste, never wrapped."""
    return diff.next_step.commands if diff.next_step else ()


def _how(step: NextStep, rows: Sequence[Row]) -> str:
    of = f"{step.cases} of {len(rows)} unclear cases" if len(rows) > 1 else "the unclear case"
    aim = "one round shows no spread:" if _are_single(rows) else f"to settle {of},"
    if step.interleaved:
        how = f"measure both sides alternately, {step.rounds} rounds each"
    else:
        how = f"measure {step.rounds} rounds on each side"
    took = [] if step.seconds is None else [f"about {minutes_text(step.seconds)}"]
    if step.interleaved:
        took.append(f"{2 * step.rounds * max(1, len(step.commands))} worker starts")
    return f"{aim} {how}" + (f" ({', and '.join(took)})" if took else "")


def _placeholders(step: NextStep) -> list[str]:
    words = " ".join(step.commands)
    return [side for side in ("base", "head") if f" {side.upper()}/bin/python" in words]
