"""Stored samples, reduced to what can be shown."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from attnbench.db.store import Store
from attnbench.records import Measurement

STEP = 2  # percent: as fine as a plot can show a distribution, however many samples there are
_PERCENTILES = np.arange(0, 101, STEP)

Quantiles = Mapping[int, NDArray[np.float64]]  # by measurement id, the percentiles in seconds


def read_quantiles(store: Store, measurements: Iterable[Measurement]) -> Quantiles:
    """The percentiles 0, 2 ... 100 of each timed round whose samples are stored."""
    ids = {each.id for each in measurements if each.median is not None}
    return {
        id: np.percentile(samples, _PERCENTILES)
        for id, samples in store.samples_of(ids)
        if len(samples) > 1  # a single one, as other tools give, has no distribution
    }
