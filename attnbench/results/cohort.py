"""Cohorts: series that one table can show together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.fields import Fields, batch_text, method_text
from attnbench.analysis.ranking import Ranking, Standing, rank
from attnbench.analysis.roofline import is_above_roofline, measured_fraction, roofline_fraction
from attnbench.analysis.series import Series, series_of
from attnbench.analysis.tuning import Contender
from attnbench.families import family_of
from attnbench.provenance.machine import Machine
from attnbench.reasons import in_short
from attnbench.records import Measurement, Rates, Run, Status
from attnbench.results.cards import card_names
from attnbench.results.noise import NoiseLookup, assumed_noise
from attnbench.specs.case import Case
from attnbench.timing.sentinels import Sentinels
from attnbench.units import counted

# Sentinels' facts as stored, by run and moment ("start", "end").
SentinelFacts = Mapping[int, Mapping[str, Rates]]
NO_SENTINELS: SentinelFacts = {}


@dataclass(frozen=True)
class Cohort:
    """Series of one family, method and machine model, with the facts of all runs by number."""

    series: Sequence[Series]
    all_runs: Mapping[int, Run]
    all_sentinels: SentinelFacts = field(default_factory=dict)
    noise: NoiseLookup = assumed_noise
    others: Sequence[Series] = ()  # not shown; intervals borrow the spread of their rounds too

    @cached_property
    def timed(self) -> list[Series]:
        """The series with a time: the rows of a table."""
        return [each for each in self.series if each.time is not None]

    @cached_property
    def fields(self) -> Fields:
        """The fields that distinguish the rows, or all series if none has a time."""
        return Fields.of([each.case for each in self.timed or self.series])

    @cached_property
    def machine(self) -> Machine:
        """The machine of the first series; the others have the same model."""
        return Machine.from_facts(self.all_runs[self.series[0].first.run].machine)

    @cached_property
    def cards(self) -> dict[str, str]:
        """The names of the cards by their machines' keys; empty if there is only one."""
        return card_names(each for series in self.series for each in series.rounds)

    @cached_property
    def reached(self) -> dict[int, dict[str, Sentinels]]:
        """The sentinels of these series' devices, by run and moment."""
        numbers = dict.fromkeys(number for each in self.series for number in each.runs)
        return {
            number: {moment: Sentinels.from_facts(facts) for moment, facts in moments.items()}
            for number in numbers
            if (moments := self.all_sentinels.get(number))
        }

    @cached_property
    def roofline_fractions(self) -> list[float | None]:
        """The part of the roofline that each row reaches."""
        return [roofline_fraction(each, self.machine) for each in self.timed]

    @cached_property
    def wrong(self) -> list[bool]:
        """Whether each row has an impossible time."""
        return list(map(self._is_wrong, self.timed))

    def _is_wrong(self, series: Series) -> bool:
        reached = [each for moments in self.reached.values() for each in moments.values()]
        return is_above_roofline(series, self.machine, reached)

    @cached_property
    def right(self) -> list[Series]:
        """The rows with a possible time."""
        return [each for each, wrong in zip(self.timed, self.wrong, strict=True) if not wrong]

    @cached_property
    def rankings(self) -> list[Ranking]:
        """Each workload's possible rows against its best, in the order of their first.

        They are tested together with the other series, so a row's interval stays what it is when
        fewer are shown.
        """
        others = [each for each in self.others if each.time is not None]
        beside = [Contender.of(each) for each in others if not self._is_wrong(each)]
        return rank(map(Contender.of, self.right), self.noise_of, beside)

    @cached_property
    def standings(self) -> list[Standing | None]:
        """Each row's standing in its ranking; None for wrong ones."""
        found = {id(s.contender.series): s for r in self.rankings for s in r.standings}
        return [found.get(id(each)) for each in self.timed]

    def noise_of(self, series: Series, cell: Cell) -> Noise:
        """The noise on a series' machine, for cells of that duration."""
        first = series.first
        return self.noise(first.machine_key, first.machine_model, first.case.family, cell.stratum)

    @cached_property
    def measured_fractions(self) -> list[float | None]:
        """The part of the device's rates at the start of the run that each row reaches."""
        starts = {number: moments.get("start") for number, moments in self.reached.items()}
        return [
            measured_fraction(each, self.machine, starts.get(each.timed[0].run))
            for each in self.timed
        ]

    @cached_property
    def rounds(self) -> int:
        """The largest number of timed rounds of a series."""
        return max((len(each.medians) for each in self.timed), default=0)

    @property
    def subject(self) -> str:
        """The family, the machine and the method, as far as all series share it."""
        first = self.series[0].first
        number = f"{len(self.cards)} x " if self.cards else ""
        where = f"{number}{self.machine.label}"
        methods = [each.first.method for each in self.series]
        shared = {n: v for n, v in methods[0].items() if all(m.get(n) == v for m in methods)}
        return f"{first.case.family} on {where}; {method_text(shared)}"

    @property
    def shared(self) -> str:
        """The fields with the same value in all rows."""
        return self.shared_but()

    def shared_but(self, *names: str) -> str:
        """The fields with the same value in all rows, without `names`."""
        hidden = {*names, *family_of(self.series[0].case).unused_dims}
        constant = {n: v for n, v in self.fields.constant.items() if n not in hidden}
        return ", ".join(f"{name} {value}" for name, value in constant.items())

    @property
    def one_batch(self) -> bool:
        """Whether several rows share one batch, so a table needs no column for it."""
        batches = [each.case.batch for each in self.timed]
        return len(batches) > 1 and all(batch == batches[0] for batch in batches)

    @property
    def origin(self) -> str:
        """The runs with their labels, the subject, and the number of rounds."""
        numbers = dict.fromkeys(number for each in self.series for number in each.runs)
        runs = f"run{'s' if len(numbers) > 1 else ''} {', '.join(map(self._run_text, numbers))}"
        rounds = f"; {counted(self.rounds, 'round')}" if self.timed else ""
        return f"{runs}: {self.subject}{rounds}"

    @property
    def shared_batch(self) -> str:
        """The batch, if several rows share one."""
        return f"batch {batch_text(self.timed[0].case)}" if self.one_batch else ""

    def _run_text(self, number: int) -> str:
        label = self.all_runs[number].label
        return f'{number} "{label}"' if label else str(number)

    def failures(self) -> list[str]:
        """A sentence per reason for cases without a time, with those cases."""
        cases: dict[tuple[str, str], dict[str, Case]] = {}
        for series in self.series:
            for each in series.failures:
                why = status_text(each, series), in_short(each.outcome.reason)
                met = cases.setdefault(why, {})
                met[each.case_key] = each.case
        return [
            f"{status}: {self._who(list(met.values()))}: {reason}"
            for (status, reason), met in cases.items()
        ]

    def _who(self, cases: Sequence[Case]) -> str:
        if len(cases) == 1:
            return Fields.of([each.case for each in self.series]).describe(cases[0])
        backends = dict.fromkeys(case.backend for case in cases)
        return f"{', '.join(backends)} ({len(cases)} cases)"


def status_text(failed: Measurement, series: Series) -> str:
    """The status of a failed round; for a wrong result also which of several rounds it was."""
    if failed.status is not Status.INCORRECT or len(series.rounds) == 1:
        return failed.status
    run = f" of run {failed.run}" if len(series.runs) > 1 else ""
    return f"{failed.status} in round {failed.round + 1}{run}, so no round counts"


def cohorts(
    measurements: Iterable[Measurement],
    runs: Mapping[int, Run],
    sentinels: SentinelFacts = NO_SENTINELS,
    noise: NoiseLookup = assumed_noise,
    others: Iterable[Measurement] = (),
) -> list[Cohort]:
    """The measurements by family, method and machine model, in the order of their first.

    `others` are of the same runs, but not shown.
    """
    beside = _grouped(others)
    return [
        Cohort(listed, runs, sentinels, noise, beside.get(key, ()))
        for key, listed in _grouped(measurements).items()
    ]


def _grouped(measurements: Iterable[Measurement]) -> dict[tuple[str, str, str], list[Series]]:
    groups: dict[tuple[str, str, str], list[Series]] = {}
    for series in series_of(measurements):
        _, method, machine = series.key
        groups.setdefault((series.case.family, method, machine), []).append(series)
    return groups
