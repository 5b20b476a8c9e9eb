"""The policy of a measurement, given a clock: when it is warm and when there are enough samples."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from attnbench.labels import Label
from attnbench.stats.median import median_interval
from attnbench.timing.guard import ENERGY_WINDOW, Look, Reading, unseen
from attnbench.timing.method import Method

WINDOW = 5  # samples that are compared with the five before
STEADY = 0.01  # a window within 1 % of the one before is warm
WARMUP_BUDGET = 0.5  # seconds, after which a clock counts as warm in any case
SUSTAINED_LOAD = 1.0  # seconds of calls before the warm-up: a GPU averages its power for as long
LOOK_EVERY = 5  # samples between two checks of the interval, which take longer as samples grow
MANY, LOOK_SELDOM = 100, 25  # from this many samples on


class Clock(Protocol):
    """Takes samples of one prepared case."""

    calls_per_sample: int

    def sample(self) -> float:
        """Seconds per call of the next sample."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of a measurement and their circumstances; nothing is dropped."""

    values: tuple[float, ...]  # seconds per call, in the order taken
    warmup_calls: int
    warmup_seconds: float
    sampling_seconds: float
    before: Callable[[], Reading]  # waits for the device's reading after the warm-up
    after: Callable[[], Reading]  # and after the last sample
    labels: tuple[Label, ...]


def measure(
    clock: Clock,
    method: Method,
    now: Callable[[], float],
    look: Look = unseen,
) -> Samples:
    """Warm up, then sample until the median is known well enough; `look` watches the device."""
    started = now()
    warmups = warm_up(clock, method, now)
    least = (method.samples or method.min_samples) * (now() - started) / max(warmups, 1)
    energy = least >= ENERGY_WINDOW
    before, warm = look(energy), now()
    values: list[float] = []
    while not enough(values, method, now() - warm):
        values.append(clock.sample())
    done, after = now(), look(energy)
    caveats = {
        Label.SUSTAINED: method.regime == "sustained",
        Label.WIDE_INTERVAL: not method.samples and not tight(values, method),
    }
    labels = tuple(label for label, applies in caveats.items() if applies)
    calls = warmups * clock.calls_per_sample
    return Samples(tuple(values), calls, warm - started, done - warm, before, after, labels)


def warm_up(clock: Clock, method: Method, now: Callable[[], float]) -> int:
    """Samples thrown away: until two windows agree, and at least the calls asked for."""
    started, taken = now(), list[float]()
    if method.regime == "sustained":
        while now() - started < SUSTAINED_LOAD:
            taken.append(clock.sample())
        started = now()
    while len(taken) * clock.calls_per_sample < (method.warmup_calls or 0):
        taken.append(clock.sample())
    while not _steady(taken) and now() - started < WARMUP_BUDGET:
        taken.append(clock.sample())
    return len(taken)


def enough(values: list[float], method: Method, elapsed: float) -> bool:
    """The stopping rule; an exact number of samples switches it off.

    The time budget ends a slow case early, but never before three samples.
    """
    count = len(values)
    if method.samples is not None:
        return count >= method.samples
    if count >= method.max_samples or (count >= 3 and elapsed >= method.time_budget):
        return True
    step = LOOK_EVERY if count < MANY else LOOK_SELDOM
    return count >= method.min_samples and count % step == 0 and tight(values, method)


def tight(values: list[float], method: Method) -> bool:
    """Whether the median's 95 % interval is within the half-width wanted."""
    low, high = median_interval(values)
    return (high - low) / 2 <= method.half_width * median(values)


def _steady(taken: list[float]) -> bool:
    if len(taken) < 2 * WINDOW:
        return False
    before, last = median(taken[-2 * WINDOW : -WINDOW]), median(taken[-WINDOW:])
    return abs(last - before) <= STEADY * before
