"""Series: the rounds of a case, as a table's row shows them and `diff` pairs them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import geometric_mean

from attnbench.labels import regime_of
from attnbench.records import Measurement, Status
from attnbench.specs.case import Case, Value

SeriesKey = tuple[str, str, str]  # hashes of case, method and machine model
Times = Mapping[tuple[int | str, int], float]  # seconds by session and number of the round


@dataclass(frozen=True, slots=True)
class Series:
    """All rounds of one case with one method on one machine model: at least one, oldest first.

    A failed round counts as such; the others still have their times. Only if one was incorrect none
    has: what is wrong once is not to be compared.
    """

    rounds: tuple[Measurement, ...]

    @property
    def first(self) -> Measurement:
        """A round, for the facts that all share."""
        return self.rounds[0]

    @property
    def case(self) -> Case:
        """The requested case."""
        return self.first.case

    @property
    def key(self) -> SeriesKey:
        """The key that all rounds share."""
        return self.first.case_key, self.first.method_key, self.first.machine_model

    @property
    def runs(self) -> tuple[int, ...]:
        """Numbers of the rounds' runs, without repeats."""
        return tuple(dict.fromkeys(each.run for each in self.rounds))

    @property
    def timed(self) -> tuple[Measurement, ...]:
        """The rounds with a time; none if a round was incorrect."""
        if self.incorrect:
            return ()
        return tuple(each for each in self.rounds if each.median is not None)

    @property
    def incorrect(self) -> tuple[Measurement, ...]:
        """The rounds with a wrong result."""
        return tuple(each for each in self.rounds if each.status is Status.INCORRECT)

    @property
    def failures(self) -> tuple[Measurement, ...]:
        """The rounds that are not ok, including refused ones."""
        return tuple(each for each in self.rounds if each.status is not Status.OK)

    @property
    def medians(self) -> tuple[float, ...]:
        """Each timed round's median, seconds per call."""
        return tuple(each.median for each in self.timed if each.median is not None)

    @property
    def times(self) -> Times:
        """The median of each timed round, by run and round number."""
        return {
            (each.run, each.round): each.median for each in self.timed if each.median is not None
        }

    @property
    def time(self) -> float | None:
        """The geometric mean of the rounds' medians, seconds per call; None if none has a time.

        Every table, diff, study and page shows it: ratios of such means are the means of the
        rounds' ratios, and verdicts are about those.
        """
        return mean_time(self.medians) if self.medians else None

    @property
    def cycles(self) -> float | None:
        """SM cycles of a call: a time independent of the clock.

        The geometric mean over the rounds; None unless the clock of every timed round is known.
        """
        found = [cycles for each in self.timed if (cycles := sm_cycles(each)) is not None]
        return mean_time(found) if found and len(found) == len(self.timed) else None

    @property
    def split(self) -> int:
        """The number of requests on the decode path; the series must have a time."""
        return self.timed[0].outcome.decode_requests

    @property
    def limits(self) -> tuple[float, float] | None:
        """The least and the greatest of the rounds' medians, seconds per call.

        For a single round its median's 95 % interval; None without either.
        """
        if len(self.medians) > 1:
            return min(self.medians), max(self.medians)
        for each in self.timed:
            if each.low is not None and each.high is not None:
                return each.low, each.high
        return None

    @property
    def spread(self) -> float | None:
        """Half the distance of the limits, relative to the time; None without either."""
        return None if self.time is None else half_range(self.limits, self.time)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all rounds, without repeats."""
        return tuple(dict.fromkeys(label for each in self.rounds for label in each.outcome.labels))

    @property
    def cache_state(self) -> str:
        """The cache state of the timed rounds, mixed if they differ; empty if none has a time."""
        return _common(each.outcome.cache_state for each in self.timed)

    @property
    def regime(self) -> str:
        """burst, sustained if load came first, or mixed; empty if no round has a time."""
        return _common(regime_of(each.method, each.outcome.labels) for each in self.timed)

    @property
    def resolved(self) -> dict[str, Value]:
        """The settings that ran, by name; all of them if rounds differ."""
        found: dict[str, dict[Value, None]] = {}
        for each in self.timed:
            for name, value in each.outcome.resolved.items():
                found.setdefault(name, {})[value] = None
        return {
            name: next(iter(values)) if len(values) == 1 else " or ".join(map(str, values))
            for name, values in found.items()
        }

    @property
    def flops_per_second(self) -> float | None:
        """Useful FLOP over the time; None without a time or without FLOP."""
        return self._rate(self.timed[0].outcome.flops) if self.timed else None

    @property
    def bytes_per_second(self) -> float | None:
        """Useful bytes over the time; None without a time."""
        return self._rate(self.timed[0].outcome.bytes) if self.timed else None

    def _rate(self, work: float) -> float | None:
        time = self.time
        return work / time if work and time else None


def _common(states: Iterable[str]) -> str:
    found = set(states)
    return "mixed" if len(found) > 1 else next(iter(found), "")


def half_range(limits: tuple[float, float] | None, time: float) -> float | None:
    """Half the distance of the limits, relative to the time."""
    return None if limits is None else (limits[1] - limits[0]) / 2 / time


def sm_cycles(measurement: Measurement) -> float | None:
    """SM cycles of a call, by the clock of its samples; None if that is unknown."""
    clock = sm_clock(measurement)
    return measurement.median * clock if measurement.median and clock else None


def sm_clock(measurement: Measurement) -> float | None:
    """Hz while the samples were taken; None if unknown."""
    return measurement.outcome.guard.get("sm_clock_hz_median")


def mean_time(rounds: Collection[float]) -> float:
    """The geometric mean of one or more rounds; a single one is unchanged."""
    return geometric_mean(rounds) if len(rounds) > 1 else next(iter(rounds))


def series_of(measurements: Iterable[Measurement]) -> list[Series]:
    """Measurements grouped by case, method and machine model, in the order of their first."""
    groups: dict[SeriesKey, list[Measurement]] = {}
    for each in measurements:
        key = each.case_key, each.method_key, each.machine_model
        groups.setdefault(key, []).append(each)
    return [Series(tuple(rounds)) for rounds in groups.values()]
