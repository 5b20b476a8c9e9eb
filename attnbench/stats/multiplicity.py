"""Many tests at once: the share of false findings."""

from collections.abc import Sequence

import numpy as np


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Each p-value adjusted to the false discovery rate at which it would be a finding.

    The q-value is the least p K / rank over this and all larger p-values of the K (Benjamini and
    Hochberg 1995), in the order given.
    """
    p = np.asarray(p_values, dtype=np.float64)
    descending = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[descending] = np.minimum.accumulate(p[descending] * (len(p) / ranks))
    return [float(q) for q in adjusted]
