"""A study's conclusion: the answer its results give, and its doubts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.fields import setting_text
from attnbench.analysis.lint import lint
from attnbench.analysis.series import Series, series_of
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine, is_named
from attnbench.reasons import in_short
from attnbench.records import Rates, Run
from attnbench.reporting.notes import queries_note
from attnbench.reporting.origin import origin_text
from attnbench.reporting.text_table import WIDTH, items, text_table, wrapped
from attnbench.results.cards import card_names
from attnbench.results.cohort import status_text
from attnbench.results.noise import Noises
from attnbench.results.possible import possible
from attnbench.specs.case import Value
from attnbench.studies.analysis import (
    ContrastAnalysis,
    CrossoverAnalysis,
    GrowthAnalysis,
    OptimumAnalysis,
    RaggedAnalysis,
    WinnerAnalysis,
)
from attnbench.studies.answers import contrast, crossover, growth, optimum, ragged, traffic, winner
from attnbench.studies.answers.base import Answer, Table, what_auto_loses
from attnbench.studies.charts import Chart, as_facts, from_facts
from attnbench.studies.file import Study
from attnbench.studies.request import study_of_plan
from attnbench.studies.search import of_method
from attnbench.studies.stored import stored_study
from attnbench.studies.traffic import TrafficAnalysis
from attnbench.timing.method import VERSIONS, layer_version
from attnbench.timing.sentinels import Sentinels

_EXAMPLES = 3  # cases named by a doubt
_NO_CASES = "of 0 cases have a time"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The conclusion of a study's run, as stored."""

    study: str
    question: str
    asked: Sequence[str]  # differences from the file: overrides, a pilot
    where: str
    doubts: Sequence[str]
    answer: Sequence[str]
    cells: Sequence[str]  # numbers measured, refused, failed or left out
    tables: Sequence[Table]
    charts: Sequence[Chart]
    origin: str = ""  # device, commit, versions and day; empty in older databases
    backends: Sequence[str] = ()  # with a time, in the order of their colours

    @property
    def slots(self) -> dict[str, int]:
        """The number of each backend's colour: as on the rest of a page, by its first case."""
        return {name: slot for slot, name in enumerate(self.backends)}

    @property
    def has_cases(self) -> bool:
        """Whether any case was measured or refused."""
        return not self.cells[0].endswith(_NO_CASES)

    def as_facts(self) -> dict[str, Any]:
        """JSON that `from_facts` reads back."""
        return asdict(self) | {"charts": [as_facts(chart) for chart in self.charts]}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of `as_facts`."""
        tables = [Table(**table) for table in facts["tables"]]
        charts = [from_facts(chart) for chart in facts["charts"]]
        return cls(**dict(facts) | {"tables": tables, "charts": charts})


def conclude(store: Store, run: int) -> Conclusion:
    """The conclusion of a study's run, stored; without a case, an earlier one is kept.

    Raises UsageError for a run of another command.
    """
    found = conclusion_of(store, run)
    if found.has_cases or store.conclusion(run) is None:
        store.conclude(run, found.as_facts())
    return found


def conclusion_of(store: Store, run: int) -> Conclusion:
    """Compute a study's answer from its run's stored outcomes of the first method.

    Raises UsageError for a run of another command.
    """
    plan, facts = store.plan(run), stored_study(store, run)
    study, changes = study_of_plan(facts)
    record = store.run(run)
    listed = series_of(of_method(store.measurements([run]), plan["methods"][0]))
    machine = Machine.from_facts(record.machine)

    noises, machine_keys = Noises(store), (record.machine_key, record.machine_model)
    right = possible(store, listed)
    found = _answer(right, study, lambda cell: noises(*machine_keys, study.family, cell.stratum))
    return Conclusion(
        study=study.name,
        question=study.question,
        asked=changes,
        where=_where(record, machine, listed) + _method(plan["methods"], run),
        doubts=[
            *_of_another_gpu(study, machine),
            *queries_note(listed),
            *_doubts(listed, machine, store.sentinels(run)),
        ],
        answer=list(found.lines),
        cells=_cells(listed, facts.get("left_out", {})),
        tables=list(found.tables),
        charts=list(found.charts),
        origin=origin_text(record),
        backends=list(dict.fromkeys(s.case.backend for s in listed if s.time is not None)),
    )


def conclusion_text(found: Conclusion, width: int = WIDTH) -> str:
    """The question, doubts, the answer, the counts, then the tables."""
    blocks = [
        wrapped(f"{found.study}: {found.question}", width),
        items([found.where, *found.asked], width=width),
    ]
    if found.doubts:
        blocks.append("Doubts, before anything is concluded:\n" + items(found.doubts, width=width))
    blocks.append("Conclusion:\n" + items([f"- {line}" for line in found.answer], width=width))
    blocks.append("Cells:\n" + items(found.cells, width=width))
    for table in found.tables:
        blocks.append(wrapped(table.heading, width))
        blocks.append(text_table(table.text_columns(), width=width))
    return "\n\n".join(filter(None, blocks))


def _answer(listed: Sequence[Series], study: Study, noise: NoiseOf) -> Answer:
    match study.analysis:
        case CrossoverAnalysis():
            return crossover.answer(listed, noise)
        case RaggedAnalysis():
            return ragged.answer(listed, noise)
        case OptimumAnalysis() as asked:
            return optimum.answer(listed, asked, noise)
        case WinnerAnalysis() as asked:
            return winner.answer(listed, asked, noise)
        case TrafficAnalysis() as asked:
            return traffic.answer(listed, asked, noise)
        case ContrastAnalysis() as asked:
            found = contrast.answer(listed, asked, noise)
        case GrowthAnalysis() as asked:
            found = growth.answer(listed, asked)
    return replace(found, lines=[*found.lines, *what_auto_loses(listed, noise)])


def _where(run: Run, machine: Machine, listed: Sequence[Series]) -> str:
    most = max((len(each.medians) for each in listed), default=0)
    rounds = {0: "nothing measured", 1: "1 round"}.get(most, f"{most} rounds at most")
    ended = ", interrupted" if run.status == "interrupted" else ""
    cards = card_names(each for series in listed for each in series.rounds)
    shared = f"{len(cards)} x " if cards else ""
    named = f" ({', '.join(cards.values())})" if cards else ""
    between = _between(listed)
    return f"run {run.number} on {shared}{machine.label}{named}; {rounds}{between}{ended}"


def _between(listed: Sequence[Series]) -> str:
    found = {each.first.method.get("between") for each in listed}
    if "layer" not in found:
        return ""
    where = "calls" if len(found) == 1 else "the calls of decodes"
    versions = {layer_version(each.first.method) for each in listed}
    former = ", layer method 1 (now 2 or 3)" if 1 in versions else ""
    return f"; a layer between {where}{former}"


def _method(methods: Sequence[Mapping[str, Value]], run: int) -> str:
    """By what the first method, which alone is concluded from, differs from others of the run."""
    if len(methods) == 1:
        return ""
    names = dict.fromkeys(name for each in methods for name in each if name not in VERSIONS)
    texts = [[f"{name} {setting_text(each, name)}" for name in names] for each in methods]
    differing = [first for first, *others in zip(*texts, strict=True) if {first} != {*others}]
    return (
        f"; concluded from {', '.join(differing)} alone, the first of {len(methods)} methods: "
        f"`attnbench report --run {run}` has all"
    )


def _of_another_gpu(study: Study, machine: Machine) -> list[str]:
    """That a trace's steps are those of a server on another GPU than the one that measured."""
    gpu = study.analysis.gpu if isinstance(study.analysis, TrafficAnalysis) else None
    if gpu is None or machine.kind == "cpu" or is_named(machine.name, gpu):
        return []
    return [
        f"the steps are those of a server on {gpu}, and these times of {machine.name}; see --gpu"
    ]


def _doubts(
    listed: Sequence[Series],
    machine: Machine,
    sentinels: Mapping[str, Rates],
) -> list[str]:
    reached = [Sentinels.from_facts(facts) for facts in sentinels.values()]
    lines = []
    for doubt, cases in lint(listed, machine, reached).items():
        more = f", and {len(cases) - _EXAMPLES} more" if len(cases) > _EXAMPLES else ""
        lines.append(f"{doubt} ({len(cases)}): {'; '.join(cases[:_EXAMPLES])}{more}")
    return lines


def _cells(listed: Sequence[Series], left_out: Mapping[str, int]) -> list[str]:
    """A line on measured cases, and one per reason for cases without a time."""
    timed = sum(each.time is not None for each in listed)
    lines = [f"{timed} of {len(listed)} cases have a time"]
    failures: dict[tuple[str, str], list[Series]] = {}
    for series in listed:
        for each in series.failures:
            failed = status_text(each, series), in_short(each.outcome.reason)
            failures.setdefault(failed, []).append(series)
    for (status, reason), met in failures.items():
        backends = ", ".join(dict.fromkeys(each.case.backend for each in met))
        lines.append(f"{status}: {len(met)} of {backends}: {reason}")
    lines += [f"left out: {count}: {reason}" for reason, count in left_out.items()]
    return lines
