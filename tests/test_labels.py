"""What samples say of themselves."""

import pytest

from attnbench.timing.labels import sample_labels

US = 1e-6
STEADY = [US * (10 + i % 7 / 100) for i in range(100)]
TWO_MODES = [US * (10 + i % 7 / 100 + (i % 2)) for i in range(100)]


@pytest.mark.parametrize(
    ("samples", "labels"),
    [
        ([], ()),
        ([US], ()),
        ([US] * 20, ()),
        (STEADY, ()),
        ([*STEADY, 50 * US], ()),  # one straggler of a hundred
        ([*STEADY, *(50 * US * i for i in range(1, 9))], ("outliers",)),
        (TWO_MODES, ("bimodal",)),
        ([*STEADY[:18], 50 * US, 51 * US], ("outliers",)),  # too few for a second mode
    ],
)
def test_samples_are_labelled_by_what_their_median_hides(
    samples: list[float], labels: tuple[str, ...]
) -> None:
    assert sample_labels(samples) == labels
