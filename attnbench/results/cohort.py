"""A cohort: the series that one table can show together."""

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
from attnbench.records import Measurement, Run, Status
from attnbench.results.noise import NoiseLookup, assumed_noise
from attnbench.specs.case import Case
from attnbench.timing.sentinels import Sentinels

# What devices reached, by run and moment ("start", "end"), as the database holds it.
SentinelFacts = Mapping[int, Mapping[str, Mapping[str, float | None]]]
NO_SENTINELS: SentinelFacts = {}


@dataclass(frozen=True)
class Cohort:
    """Series of one family, method and machine model, and what is known of all runs by number."""

    series: Sequence[Series]
    all_runs: Mapping[int, Run]
    all_sentinels: SentinelFacts = field(default_factory=dict)
    noise: NoiseLookup = assumed_noise

    @cached_property
    def timed(self) -> list[Series]:
        """The series that have a time: the rows of a table."""
        return [each for each in self.series if each.time is not None]

    @cached_property
    def fields(self) -> Fields:
        """What tells the rows apart; of all series where none has a time."""
        return Fields.of([each.case for each in self.timed or self.series])

    @cached_property
    def machine(self) -> Machine:
        """The machine of the first series; the others ran on one of its model."""
        return Machine.from_facts(self.all_runs[self.series[0].first.run].machine)

    @cached_property
    def reached(self) -> dict[int, dict[str, Sentinels]]:
        """What the devices of these series reached, by run and moment."""
        numbers = dict.fromkeys(number for each in self.series for number in each.runs)
        return {
            number: {moment: Sentinels.from_facts(facts) for moment, facts in moments.items()}
            for number in numbers
            if (moments := self.all_sentinels.get(number))
        }

    @cached_property
    def roofline_fractions(self) -> list[float | None]:
        """What part of the roofline each row reaches."""
        return [roofline_fraction(each, self.machine) for each in self.timed]

    @cached_property
    def wrong(self) -> list[bool]:
        """Which rows have a time that cannot be."""
        return list(map(is_above_roofline, self.timed, self.roofline_fractions))

    @cached_property
    def right(self) -> list[Series]:
        """The rows whose time can be."""
        return [each for each, wrong in zip(self.timed, self.wrong, strict=True) if not wrong]

    @cached_property
    def rankings(self) -> list[Ranking]:
        """Each workload's rows against its best, in the order of their first; wrong ones apart."""
        return rank(map(Contender.of, self.right), self.noise_of)

    @cached_property
    def standings(self) -> list[Standing | None]:
        """Where each row stands in its ranking; wrong ones apart."""
        found = {id(s.contender.series): s for r in self.rankings for s in r.standings}
        return [found.get(id(each)) for each in self.timed]

    def noise_of(self, series: Series, cell: Cell) -> Noise:
        """What is known of noise on the machine of a series, for cells of that duration."""
        first = series.first
        return self.noise(first.machine_key, first.machine_model, first.case.family, cell.stratum)

    @cached_property
    def measured_fractions(self) -> list[float | None]:
        """What part of the rates that the device reached when its run started each row reaches."""
        starts = {number: moments.get("start") for number, moments in self.reached.items()}
        return [
            measured_fraction(each, self.machine, starts.get(each.timed[0].run))
            for each in self.timed
        ]

    @cached_property
    def rounds(self) -> int:
        """The most rounds of any series that have a time."""
        return max((len(each.medians) for each in self.timed), default=0)

    @property
    def subject(self) -> str:
        """What was measured, where and how."""
        first = self.series[0].first
        return f"{first.case.family} on {self.machine.label}; {method_text(first.method)}"

    @property
    def shared(self) -> str:
        """The fields that are the same in all rows."""
        return self.shared_but()

    def shared_but(self, *names: str) -> str:
        """The same without some fields."""
        hidden = {*names, *family_of(self.series[0].case).unused_dims}
        constant = {n: v for n, v in self.fields.constant.items() if n not in hidden}
        return ", ".join(f"{name} {value}" for name, value in constant.items())

    @property
    def one_batch(self) -> bool:
        """Whether several rows are all of one batch, so that a table needs no column for it."""
        batches = [each.case.batch for each in self.timed]
        return len(batches) > 1 and all(batch == batches[0] for batch in batches)

    @property
    def origin(self) -> str:
        """The runs, with their labels, what was measured in them, and how many rounds."""
        numbers = dict.fromkeys(number for each in self.series for number in each.runs)
        runs = f"run{'s' if len(numbers) > 1 else ''} {', '.join(map(self._run_text, numbers))}"
        rounds = f"; {self.rounds} round{'s' if self.rounds > 1 else ''}" if self.timed else ""
        return f"{runs}: {self.subject}{rounds}"

    @property
    def shared_batch(self) -> str:
        """The batch, where several rows are all of one, so no table needs a column for it."""
        return f"batch {batch_text(self.timed[0].case)}" if self.one_batch else ""

    def _run_text(self, number: int) -> str:
        label = self.all_runs[number].label
        return f'{number} "{label}"' if label else str(number)

    def failures(self) -> list[str]:
        """A sentence for each way in which cases came to no time, with the cases it met."""
        cases: dict[tuple[Status, str], dict[str, Case]] = {}
        for series in self.series:
            for each in series.failures:
                met = cases.setdefault((each.status, each.outcome.reason), {})
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


def cohorts(
    measurements: Iterable[Measurement],
    runs: Mapping[int, Run],
    sentinels: SentinelFacts = NO_SENTINELS,
    noise: NoiseLookup = assumed_noise,
) -> list[Cohort]:
    """The measurements by family, method and machine model, in the order of their first."""
    groups: dict[tuple[str, str, str], list[Series]] = {}
    for series in series_of(measurements):
        _, method, machine = series.key
        groups.setdefault((series.case.family, method, machine), []).append(series)
    return [Cohort(listed, runs, sentinels, noise) for listed in groups.values()]
