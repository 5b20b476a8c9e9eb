"""What the verdicts of a diff rest on, as text: noise, and where it comes from."""

import math
from collections.abc import Sequence

from attnbench.analysis.estimate import Noise
from attnbench.results.diff import Diff, Row
from attnbench.units import percent


def noise_header(diff: Diff) -> list[str]:
    """The noise that tells a change from none, how well it is known, and from where; a line."""
    apart = _apart(diff)
    turns = ["rounds were interleaved and are compared pair by pair"]
    parts = turns if len(apart) < len(diff.judged) else []
    if apart:
        common = _span([noise.common.sd for noise in apart])
        parts += [f"a session moves one case by {_sessions(apart)}, all cases together by {common}"]
        parts += [*_cards(diff), f"from {diff.basis.noise_source}"]
    if diff.basis.compared.more_scatter:
        parts.append("the cases of this diff scatter more, and that holds")
    return [f"noise: {'; '.join(parts)}"] if parts else []


def noise_advice(diff: Diff) -> list[str]:
    """How to know the noise better, if cases are unclear by it."""
    unknown = any(not noise.stored for noise in _apart(diff))
    if not (unknown and any(_moved(row, diff.margin) for row in diff.rows)):
        return []
    return [
        "no repeated runs of this machine are stored, so a change must exceed more than its noise: "
        "attnbench selfcheck measures it"
    ]


def _apart(diff: Diff) -> list[Noise]:
    return [noise for cell, noise in diff.judged if not cell.paired]


def _moved(row: Row, margin: float) -> bool:
    """Whether it is an unclear case that moved beyond the margin."""
    found = row.decisive
    if found is None or row.verdict != "unclear":
        return False
    return abs(math.log(found.ratio)) > math.log1p(margin)


def _sessions(noises: Sequence[Noise]) -> str:
    """How far sessions move a case, of a busy machine with what comes with its rounds."""
    text = _span([noise.session.sd for noise in noises])
    if busy := math.sqrt(max(noise.per_round for noise in noises)):
        text += f" plus {percent(round(busy, 2))} of its rounds' spread"
    known = sorted({round(noise.session.df) for noise in noises})
    df = str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}"
    return f"{text} (sd on {df} degrees of freedom)"


def _cards(diff: Diff) -> list[str]:
    """What two cards of one model differ by."""
    sds = [noise.device.sd for cell, noise in diff.judged if not cell.same_device]
    return [f"another card of the model by {_span(sds)}"] if sds else []


def _span(sds: Sequence[float]) -> str:
    """Standard deviations as percentages in two digits, from the smallest to the largest."""
    least, largest = (percent(float(f"{sd:.2g}")) for sd in (min(sds), max(sds)))
    return least if least == largest else f"{least.removesuffix(' %')} to {largest}"
