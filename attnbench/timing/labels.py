"""What the samples themselves say of how far their median can be trusted."""

from collections.abc import Sequence

from attnbench.stats.bimodality import is_bimodal
from attnbench.stats.outliers import outlier_count

# The part of the samples that may be outliers without a word: a straggler in a hundred is how
# every machine behaves, and moves no median.
USUAL_OUTLIERS = 0.05


def sample_labels(samples: Sequence[float]) -> tuple[str, ...]:
    """`outliers`: over 5 % of them are far from all others; `bimodal`: they fall into two groups.

    `samples` in seconds, in any order. Nothing is dropped; how many are far is `outlier_count` of
    the stored samples.
    """
    found = {
        "outliers": outlier_count(samples) > USUAL_OUTLIERS * len(samples),
        "bimodal": is_bimodal(samples),
    }
    return tuple(name for name, holds in found.items() if holds)
