"""A report as an HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnbench.analysis.fields import Fields, batch_text
from attnbench.records import Status
from attnbench.reporting.auto import auto_lines
from attnbench.reporting.clocks import cycle_lines
from attnbench.reporting.html.answer import answer
from attnbench.reporting.html.crossover import crossover_plot
from attnbench.reporting.html.figures import Plot
from attnbench.reporting.html.fingerprint import fingerprint
from attnbench.reporting.html.measures import measures, views
from attnbench.reporting.html.page import PageData, render, require_extra
from attnbench.reporting.html.palette import LIGHT
from attnbench.reporting.html.picker import kinds, picker
from attnbench.reporting.html.results import results_table
from attnbench.reporting.html.roofline import rates_of
from attnbench.reporting.html.samples import SampledCase, SamplesPlot
from attnbench.reporting.html.studies import StudyPart
from attnbench.reporting.html.sweeps import implementation, sweeps
from attnbench.reporting.html.table import HtmlTable
from attnbench.reporting.html.tabs import MeasuresPlot, tabs
from attnbench.reporting.html.winners import WinnerMap, winner_maps
from attnbench.reporting.html.workloads import Workload, workloads_of
from attnbench.reporting.notes import marked, table_notes, what_ran
from attnbench.reporting.ranking import Name, counts, legend
from attnbench.results.cohort import Cohort
from attnbench.results.report import Report
from attnbench.results.samples import Quantiles
from attnbench.units import counted


@dataclass(frozen=True, slots=True)
class ReportPart:
    """The part of a page about one family, method and machine model."""

    key: str  # unique in the page
    study: str  # the key of the study that has its answer and maps, if any
    title: str
    shared: str
    answer: Sequence[str]
    findings: Sequence[str]
    names: Sequence[str]  # its implementations, by slot
    maps: Sequence[WinnerMap]
    kinds: Sequence[str]  # of batches that can be picked
    shapes: Mapping[str, Any]  # the picker's data
    measures: MeasuresPlot | None
    plots: Sequence[Plot]
    samples: Plot | None
    table: HtmlTable | None  # None if nothing has a time
    notes: Sequence[str]
    failures: Sequence[str]

    @property
    def drawn(self) -> list[Plot]:
        """All plots with figures of their own."""
        return [plot for plot in (*self.plots, self.samples) if plot]


def report_page(report: Report, quantiles: Quantiles, studies: Sequence[StudyPart]) -> str:
    """The page of a report, and of the studies among its runs; UsageError without the extra."""
    require_extra()
    listed = [cohort for each in report.selections for cohort in report.cohorts_of(each)]
    concluded = {study.run: study.key for study in studies if study.maps}
    parts = [_part(cohort, quantiles, f"part{at}", concluded) for at, cohort in enumerate(listed)]
    prints = [fingerprint(run, report.sentinels[number]) for number, run in report.runs.items()]
    data = PageData(
        plots=[
            *(plot for part in parts for plot in part.drawn),
            *(plot for study in studies for plot in study.plots),
        ],
        tables=[
            *(part.table for part in parts if part.table),
            *(table for study in studies for table in study.tables),
        ],
        sections={part.measures.key: part.measures.data for part in parts if part.measures},
        pickers={f"{part.key}-shape": part.shapes for part in parts if part.kinds},
    )
    values = {"parts": parts, "fingerprints": prints, "studies": studies}
    return render("report.html", data, values)


def _part(
    cohort: Cohort, quantiles: Quantiles, key: str, concluded: Mapping[int, str]
) -> ReportPart:
    fields, workloads = cohort.fields, workloads_of(cohort) if cohort.timed else []
    names = list(dict.fromkeys(implementation(each.case, fields) for each in cohort.timed))
    table, samples = _table(cohort, workloads, quantiles, key)
    crossover = crossover_plot(cohort, cohort.right, f"{key}-crossover") if workloads else None
    refused, failures = _failures(cohort)
    study = _study_of(cohort, concluded)
    is_told = bool(study) or _is_a_search(cohort, names)
    answers, maps = ([], []) if is_told else _answer(cohort, workloads, names)
    return ReportPart(
        key,
        study,
        title=cohort.subject,
        shared=_shared(cohort),
        answer=answers,
        findings=[
            _counts(cohort),
            *counts(cohort.rankings, _named(fields)),
            *auto_lines(cohort),
        ],
        names=names,
        maps=maps,
        kinds=kinds(workloads),
        shapes=picker(workloads, fields),
        measures=_measures(cohort, workloads, names, key) if cohort.right else None,
        plots=[crossover] if crossover else [],
        samples=samples,
        table=table,
        notes=[*_notes(cohort), *refused],
        failures=failures,
    )


def _table(
    cohort: Cohort, workloads: Sequence[Workload], quantiles: Quantiles, key: str
) -> tuple[HtmlTable | None, Plot | None]:
    """The table of all rows, if any has a time, and the plot of their samples, if any is stored."""
    if not workloads:
        return None, None
    rows = [(each, cohort.fields.describe(each.case)) for w in workloads for each in w.rows]
    listed = [SampledCase(batch_text(each.case), name, {"": each}) for each, name in rows]
    samples = SamplesPlot.of(listed, quantiles, f"{key}-samples")
    table = results_table(f"{key}-table", cohort, workloads)
    if samples.plot:
        table = table.with_samples(samples.choices, samples.plot.key)
    return table, samples.plot


def _failures(cohort: Cohort) -> tuple[list[str], list[str]]:
    """Sentences on cases that were refused, which is no fault, and on those that failed."""
    found = cohort.failures()
    refused = [text for text in found if text.startswith(f"{Status.REFUSED}:")]
    return refused, [text for text in found if text not in refused]


def _study_of(cohort: Cohort, concluded: Mapping[int, str]) -> str:
    """The study, by run, that concludes all runs of the cohort; empty without one."""
    found = {concluded.get(number, "") for each in cohort.series for number in each.runs}
    return found.pop() if len(found) == 1 else ""


def _answer(
    cohort: Cohort, workloads: Sequence[Workload], names: Sequence[str]
) -> tuple[list[str], list[WinnerMap]]:
    slots = {name: slot for slot, name in enumerate(names)}
    maps = winner_maps(workloads, cohort.fields, slots)
    return answer(cohort.rankings, cohort.fields, _named(cohort.fields)), maps


def _named(fields: Fields) -> Name:
    return lambda contender: implementation(contender.case, fields)


def _is_a_search(cohort: Cohort, names: Sequence[str]) -> bool:
    """Whether one backend ran with more settings than a map has colours, as in a search."""
    return len(names) > len(LIGHT) and len({each.case.backend for each in cohort.timed}) == 1


def _measures(
    cohort: Cohort, workloads: Sequence[Workload], names: Sequence[str], key: str
) -> MeasuresPlot:
    rates = rates_of(cohort, cohort.right)
    data = measures(cohort, workloads, names, rates)
    found = sweeps(cohort.right, cohort.fields)
    return MeasuresPlot(
        f"{key}-plots", tabs(data, rates), views(found, len(data["workloads"])), data
    )


def _shared(cohort: Cohort) -> str:
    """The facts that all rows share, including the batch if there is no column for it."""
    return ", ".join(filter(None, [cohort.shared_batch, cohort.shared]))


def _counts(cohort: Cohort) -> str:
    count, failed = len(cohort.timed), len(cohort.series) - len(cohort.timed)
    without = f", {failed} without a time" if failed else ""
    cases = f"{counted(count, 'case')} measured{without}"
    rounds = counted(cohort.rounds, "round")
    return f"{cases}; {rounds}" if count else cases


def _notes(cohort: Cohort) -> list[str]:
    if not cohort.timed:
        return []
    _, notes = marked(cohort)
    return [
        *legend(cohort.rankings),
        *cycle_lines(cohort),
        *notes,
        *what_ran(cohort.timed),
        *table_notes(cohort),
    ]
