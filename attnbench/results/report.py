"""The content of `report`: the measurements of some refs, with sentinels and noise."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Measurement, Run
from attnbench.results.cohort import Cohort, SentinelFacts, cohorts
from attnbench.results.noise import NoiseLookup, Noises
from attnbench.results.selection import Selection, select
from attnbench.results.sentinels import read_sentinels
from attnbench.results.where import Condition, values_instead


@dataclass(frozen=True, slots=True)
class Report:
    """Measurements selected by refs, read once; the store stays open while they are shown."""

    selections: Sequence[Selection]
    sentinels: SentinelFacts
    noise: NoiseLookup

    @property
    def measurements(self) -> list[Measurement]:
        """Each measurement once, even if two refs select it."""
        return list({each.uuid: each for s in self.selections for each in s.measurements}.values())

    @property
    def runs(self) -> dict[int, Run]:
        """All runs by number."""
        return {number: run for each in self.selections for number, run in each.runs.items()}

    def cohorts_of(self, selection: Selection) -> list[Cohort]:
        """The cohorts of one selection."""
        measurements, runs = selection.measurements, selection.runs
        return cohorts(measurements, runs, self.sentinels, self.noise, selection.others)


def read_report(store: Store, refs: Sequence[str], where: Sequence[Condition] = ()) -> Report:
    """The selections of the refs, or the latest run without refs.

    Raises UsageError if none of their measurements meets all conditions.
    """
    option = "--run" if refs else None
    selections = [select(store, ref, where=where, option=option) for ref in refs or ["latest"]]
    found = [each for each in selections if each.measurements]
    if not found:
        raise _unmet(selections, refs, where)
    return _report(store, found)


def _unmet(
    selections: Sequence[Selection], refs: Sequence[str], where: Sequence[Condition]
) -> UsageError:
    """The error of conditions that no measurement meets."""
    others = [each for selection in selections for each in selection.others]
    runs = {number: run for each in selections for number, run in each.runs.items()}
    return UsageError(
        f"--where {' '.join(map(str, where))}: no measurement of {', '.join(refs) or 'latest'} "
        f"meets that{values_instead(others, runs, where)}; name other runs, e.g. --run main, or "
        "fewer conditions"
    )


def read_run(store: Store, *numbers: int) -> Report:
    """A report of runs, each by itself, which may have no outcomes yet."""
    return _report(
        store,
        [
            Selection(str(number), store.measurements([number]), {number: store.run(number)})
            for number in numbers
        ],
    )


def _report(store: Store, selections: Sequence[Selection]) -> Report:
    runs = {number for each in selections for number in each.runs}
    return Report(selections, read_sentinels(store, runs), Noises(store))
