"""Stored samples, reduced to what a plot shows."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from attnbench.db.store import Store
from attnbench.records import Measurement

STEP = 2  # percent: fine enough for a plot of any number of samples
_PERCENTILES = np.arange(0, 101, STEP)

Quantiles = Mapping[int, NDArray[np.float64]]  # by measurement id, the percentiles in seconds


def read_quantiles(store: Store, measurements: Iterable[Measurement]) -> Quantiles:
    """The percentiles 0, 2 ... 100 of each timed round with stored samples."""
    ids = {each.id for each in measurements if each.median is not None}
    return {
        id: np.percentile(samples, _PERCENTILES)
        for id, samples in store.samples_of(ids)
        if len(samples) > 1  # a single one, as from other tools, has no distribution
    }
