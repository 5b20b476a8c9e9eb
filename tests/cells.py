"""Cells to compare, what is known of their noise, and their verdicts."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import EXACT, Cell, Noise
from attnbench.analysis.verdict import Comparison
from attnbench.stats.variance import Variance

QUIET = EXACT
LOUD = replace(EXACT, session=Variance(0.01**2, math.inf))


def known(noise: Noise) -> Callable[[Cell], Noise]:
    return lambda cell: noise


def one(cell: Cell, noise: Noise = QUIET, margin: float = 0.01) -> Comparison:
    return compare([cell], known(noise), margin)[0]


def paired(base: Sequence[float], head: Sequence[float]) -> Cell:
    return Cell("a", tuple(base), tuple(head), paired=True)


def apart(base: Sequence[float], head: Sequence[float]) -> Cell:
    return Cell("a", tuple(base), tuple(head), paired=False)


def noisy_cells(
    rng: np.random.Generator,
    count: int,
    rounds: int,
    change: float = 0.0,
    session_sd: float = 0.0,
) -> list[Cell]:
    """Cells of 50 us with log ratios of sd 0.4 %, which itself differs from cell to cell.

    The first tenth is slower by `change`; with a session_sd the sides are separate sessions.
    """
    cells = []
    base_session, head_session = rng.normal(0, session_sd, 2)
    for index in range(count):
        sd = 0.004 / math.sqrt(2) * math.exp(rng.normal(0, 0.5))
        shift = math.log1p(change) if index < count / 10 else 0.0
        base = 50e-6 * np.exp(rng.normal(base_session, sd, rounds))
        head = 50e-6 * np.exp(rng.normal(head_session + shift, sd, rounds))
        key, is_paired = str(index), session_sd == 0
        cells.append(Cell(key, tuple(base.tolist()), tuple(head.tolist()), is_paired))
    return cells


def verdicts(comparisons: Sequence[Comparison]) -> Counter[str]:
    return Counter(comparison.verdict for comparison in comparisons)


SESSIONS = Noise(session=Variance(0.001**2, 10.0), common=Variance(0.002**2, 4.0))


def moved(factors: Sequence[float], seed: int = 1, sd: float = 0.001) -> list[Cell]:
    """A cell for each factor, measured in separate sessions."""
    rng = np.random.default_rng(seed)
    return [
        Cell(
            str(at),
            tuple((1e-4 * np.exp(rng.normal(0, sd, 3))).tolist()),
            tuple((1e-4 * factor * np.exp(rng.normal(0, sd, 3))).tolist()),
            paired=False,
        )
        for at, factor in enumerate(factors)
    ]
