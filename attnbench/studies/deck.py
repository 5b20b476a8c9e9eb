"""A study's cases in groups: what its answer compares is measured on one card."""

from collections.abc import Callable, Collection, Hashable, Sequence

from attnbench.analysis.across import following
from attnbench.analysis.axes import BATCH_AXES
from attnbench.running.deck import Deck, Group, grouped
from attnbench.running.open_run import OpenRun
from attnbench.running.script import Script
from attnbench.specs.case import Case
from attnbench.studies.analysis import (
    Analysis,
    ContrastAnalysis,
    CrossoverAnalysis,
    GrowthAnalysis,
)
from attnbench.studies.cases import cells_of
from attnbench.studies.request import search_of, study_of_plan
from attnbench.studies.search import curves_of, search_script


def study_deck(run: OpenRun) -> Deck:
    """What a study's run has left, new or resumed."""
    facts = run.plan.study
    assert facts is not None
    study, _ = study_of_plan(facts)
    is_exhaustive = bool(facts["is_exhaustive"])
    cases = cells_of(study, run.machine.kind).cases
    rounds = run.plan.rounds
    if search_of(study, cases, rounds, is_exhaustive=is_exhaustive) is None:
        return Deck(_groups(run.plan.cases, study.analysis))

    def search(run: OpenRun, some: Collection[Case]) -> Script:
        found = search_of(study, tuple(some), rounds, is_exhaustive=is_exhaustive)
        assert found is not None
        return search_script(run, found)

    return Deck(_curves(cases), search)


def _groups(cases: Sequence[Case], analysis: Analysis) -> Sequence[Group]:
    if isinstance(analysis, CrossoverAnalysis):
        return _curves(cases)
    return grouped(cases, _key_of(analysis))


def _curves(cases: Sequence[Case]) -> list[Group]:
    """The cells of each curve; what stands on no curve, by workload."""
    curve_of = {
        case: curve
        for curve, cells in curves_of(cases).items()
        for sides in cells.values()
        for case in sides
    }
    return grouped(cases, lambda case: curve_of.get(case) or case.workload_key)


def _key_of(analysis: Analysis) -> Callable[[Case], Hashable]:
    """What the cases that are compared share."""
    if isinstance(analysis, ContrastAnalysis):
        differ = {analysis.field, *following(analysis.field)}
        return lambda case: frozenset(
            (name, value) for name, value in case.workload.items() if name not in differ
        )
    if isinstance(analysis, GrowthAnalysis):
        # Lengths follow from one another; without them, only the size of a batch is left.
        dropped = "batch" if analysis.over in BATCH_AXES else analysis.over
        return lambda case: (
            frozenset(item for item in case.workload.items() if item[0] != dropped),
            len(case.batch),
        )
    return lambda case: case.workload_key
