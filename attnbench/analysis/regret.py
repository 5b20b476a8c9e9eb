"""The regret of a knob that is left to the backend."""

from collections.abc import Callable, Mapping, Sequence

from attnbench.analysis.compare import compare_estimates
from attnbench.analysis.estimate import Cell, Noise, estimate_all
from attnbench.analysis.pairing import cell_between
from attnbench.analysis.ranking import AUTO
from attnbench.analysis.series import Times
from attnbench.analysis.tuning import Setting, common_rounds, cross_fitted
from attnbench.analysis.verdict import Comparison

_NOTHING_LOST = Comparison("", "same", 1.0, 1.0, 1.0, None, None, None, None, None, "")


def regrets(
    groups: Sequence[Mapping[Setting, Times]], noise: Callable[[int, Cell], Noise]
) -> list[Comparison | None]:
    """For each group the cost of leaving its knob to the backend: auto's time over the best's.

    The best is cross-fitted, that is, no round chooses the setting it judges; otherwise the best of
    several noisy times would make any choice look like a loss. None without auto, or if fewer than
    two rounds have all settings. `noise` gets the number of the group.

    Where auto is that best, nothing is lost or compared: differences of 0 would say that nothing is
    noisy. The spread of rounds is that of auto beside all settings, which are more than the best.
    """
    known = {
        at: cross_fitted(settings)
        for at, settings in enumerate(groups)
        if AUTO in settings and len(common_rounds(settings)) > 1
    }
    lost = [at for at, best in known.items() if not best.items() <= groups[at][AUTO].items()]
    cells = [cell_between(f"{at}", known[at], groups[at][AUTO]) for at in lost]
    cells += [
        cell_between(f"{at}", times, groups[at][AUTO])
        for at in known
        for setting, times in groups[at].items()
        if setting != AUTO
    ]
    estimates = estimate_all(cells, [noise(int(cell.key), cell) for cell in cells])[: len(lost)]
    compared = compare_estimates([str(at) for at in lost], estimates)
    found = dict.fromkeys(known, _NOTHING_LOST) | dict(zip(lost, compared, strict=True))
    return [found.get(at) for at in range(len(groups))]
