"""The spin before a launch, on a clock of its own: how long it is, and what is told of it."""

from types import SimpleNamespace

import pytest

from attnbench.timing import cuda
from attnbench.timing.cuda import LEAST_SPIN, MOST_SPIN, SPIN_MARGIN, GraphClock, Spin

HERTZ = 1e9


class Launches:
    """Launches that take given seconds, each behind a spin whose cycles are kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, traced: bool = False) -> None:
        self.time, self.cycles, self.used = 0.0, list[int](), list[str]()
        monkeypatch.setattr(cuda, "traced", lambda: traced)
        monkeypatch.setattr(cuda, "use_streams", self.used.append)
        monkeypatch.setattr(cuda, "_spin_rate", lambda _: HERTZ)
        monkeypatch.setattr("torch.cuda._sleep", self.cycles.append)
        monkeypatch.setattr(cuda, "time", SimpleNamespace(perf_counter=lambda: self.time))

    def run(self, spin: Spin, *seconds: float, ahead: float = 0.0) -> None:
        for each in seconds:
            spin.hide(lambda each=each: self._enqueue(each), ahead)  # type: ignore[misc]

    def _enqueue(self, seconds: float) -> None:
        self.time += seconds


def test_a_spin_is_longer_than_the_launch_before_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(monkeypatch)
    launches.run(Spin("cuda:0", 1e-4), 2e-5, 4e-5, 1e-9, 1.0, 1e-4)
    expected = [SPIN_MARGIN * each for each in (1e-4, 2e-5, 4e-5)] + [LEAST_SPIN, MOST_SPIN]
    assert [cycles / HERTZ for cycles in launches.cycles] == pytest.approx(expected, rel=1e-3)


def test_a_process_has_used_many_streams_before_the_first_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launches = Launches(monkeypatch)
    Spin("cuda:1", 1e-4)
    assert launches.used == ["cuda:1"]


def test_a_launch_that_stays_ahead_of_the_gpu_needs_the_least_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launches = Launches(monkeypatch)
    launches.run(Spin("cuda:0", 1e-4), 9e-5, 1.1e-4, 9e-5, ahead=1e-4)
    expected = [SPIN_MARGIN * 1e-4, LEAST_SPIN, SPIN_MARGIN * 1.1e-4]
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


def test_where_a_tracer_is_in_the_process_every_launch_is_hidden_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launches = Launches(monkeypatch, traced=True)
    launches.run(spin := Spin("cuda:0", 1e-4), 2e-5, 2e-5, 4e-5, 8e-5, ahead=1e-4)
    expected = [SPIN_MARGIN * each for each in (1e-4, 2e-5, 2e-5, 4e-5)]
    assert [cycles / HERTZ for cycles in launches.cycles] == pytest.approx(expected, rel=1e-3)
    assert spin.labels == ("launch_bound",)


def test_a_launch_may_show_where_it_takes_twice_what_stays_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launches = Launches(monkeypatch)
    launches.run(spin := Spin("cuda:0", LEAST_SPIN), *[9e-5, 1.9e-4] * 8, ahead=1e-4)
    assert not spin.labels
    launches.run(spin, *[9e-5, 2.1e-4] * 16, ahead=1e-4)
    assert spin.labels == ("launch_bound",)


@pytest.mark.parametrize(("calls", "share"), [(200, 0.25), (4, 0.04), (1, 0.01)])
def test_what_stays_ahead_is_a_share_of_the_last_replay(calls: int, share: float) -> None:
    clock, ahead = GraphClock.__new__(GraphClock), list[float]()
    event = SimpleNamespace(synchronize=lambda: None, elapsed_time=lambda _: 2.0)  # milliseconds
    spin = SimpleNamespace(hide=lambda _, seconds: ahead.append(seconds))
    parts = {"_spin": spin, "_graph": SimpleNamespace(replay=None), "_start": event, "_end": event}
    for name, part in (parts | {"_ahead": 0.0, "calls_per_sample": calls}).items():
        setattr(clock, name, part)
    assert [clock.sample(), clock.sample()] == [2e-3 / calls] * 2
    assert ahead == [0.0, share * 2e-3]
