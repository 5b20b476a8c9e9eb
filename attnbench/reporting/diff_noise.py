"""What the verdicts of a diff rest on, as text: noise, and where it comes from."""

import math
from collections.abc import Sequence

from attnbench.analysis.estimate import Noise
from attnbench.results.diff import Diff, Row
from attnbench.units import percent


def noise_lines(diff: Diff) -> list[str]:
    """By what the verdicts tell change from noise, and where that comes from."""
    lines = []
    apart = [noise for cell, noise in diff.judged if not cell.paired]
    if len(apart) < len(diff.judged):
        lines.append("rounds were interleaved and are compared pair by pair")
    if apart:
        sessions = _sessions(apart)
        common = _span([noise.common.sd for noise in apart])
        lines.append(
            f"noise: a session moves one case by {sessions}, all cases together by {common}; from "
            f"{diff.basis.noise_source}"
        )
    if any(not noise.stored for noise in apart) and any(
        _moved(row, diff.margin) for row in diff.rows
    ):
        lines.append(
            "no repeated runs of this machine are stored, so a change must exceed more than that: "
            "attnbench selfcheck measures it"
        )
    if any(not cell.same_device for cell, _ in diff.judged):
        cards = _span([noise.device.sd for cell, noise in diff.judged if not cell.same_device])
        lines.append(f"two cards of one model: they differ by {cards}, which the intervals contain")
    if diff.basis.compared.more_scatter:
        lines.append(
            "the cases scatter more than that noise foresees; the verdicts go by their own scatter"
        )
    return lines


def _moved(row: Row, margin: float) -> bool:
    """Whether it is an unclear case that moved beyond the margin."""
    found = row.kernel or row.comparison
    if found is None or row.verdict != "unclear":
        return False
    return abs(math.log(found.ratio)) > math.log1p(margin)


def _sessions(noises: Sequence[Noise]) -> str:
    """How far sessions move a case, of a busy machine with what comes with its rounds."""
    text = _span([noise.session.sd for noise in noises])
    if busy := math.sqrt(max(noise.per_round for noise in noises)):
        text += f" plus {percent(round(busy, 2))} of its rounds' spread"
    return text


def _span(logs: Sequence[float]) -> str:
    """Spreads of logarithms as percentages, from the smallest to the largest."""
    least, largest = percent(min(logs)), percent(max(logs))
    return least if least == largest else f"{least.removesuffix(' %')} to {largest}"
