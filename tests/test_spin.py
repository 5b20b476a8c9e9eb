"""The spin before a launch, on a clock of its own: how long it is, and what is told of it."""

from types import SimpleNamespace

import pytest

from attnbench.timing import cuda
from attnbench.timing.cuda import LEAST_SPIN, MOST_SPIN, SPIN_MARGIN, Spin

HERTZ = 1e9


class Launches:
    """Launches that take given seconds, each behind a spin whose cycles are kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time, self.cycles = 0.0, list[int]()
        monkeypatch.setattr(cuda, "_spin_rate", lambda _: HERTZ)
        monkeypatch.setattr("torch.cuda._sleep", self.cycles.append)
        monkeypatch.setattr(cuda, "time", SimpleNamespace(perf_counter=lambda: self.time))

    def run(self, spin: Spin, *seconds: float) -> None:
        for each in seconds:
            spin.hide(lambda each=each: self._enqueue(each))  # type: ignore[misc]

    def _enqueue(self, seconds: float) -> None:
        self.time += seconds


def test_a_spin_is_longer_than_the_launch_before_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(monkeypatch)
    launches.run(Spin("cuda:0", 1e-4), 2e-5, 4e-5, 1e-9, 1.0, 1e-4)
    expected = [SPIN_MARGIN * each for each in (1e-4, 2e-5, 4e-5)] + [LEAST_SPIN, MOST_SPIN]
    assert [cycles / HERTZ for cycles in launches.cycles] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        ([2e-5] * 8, ()),
        ([2e-5, 2e-5, 2e-5, 4e-5], ()),  # a quarter outran its spin
        ([2e-5, 4e-5, 2e-5, 4e-5], ("launch_bound",)),
        ([1.0] * 4, ("launch_bound",)),  # longer than any spin
        ([2e-5, 2.9e-5, 4e-5, 5e-5], ()),  # growing, but never by half
    ],
)
def test_launches_that_outrun_their_spins_are_told(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], labels: tuple[str, ...]
) -> None:
    launches = Launches(monkeypatch)
    launches.run(spin := Spin("cuda:0", 2e-5), *seconds)
    assert spin.labels == labels
