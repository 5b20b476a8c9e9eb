"""A report as an HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.analysis.fields import batch_text
from attnbench.analysis.series import Series
from attnbench.reporting.clocks import cycle_lines
from attnbench.reporting.html.crossover import crossover_plot
from attnbench.reporting.html.figures import (
    Plot,
    PlotChoice,
    Slots,
    batches_figure,
    sweep_figure,
)
from attnbench.reporting.html.fingerprint import fingerprint
from attnbench.reporting.html.page import render, require_extra
from attnbench.reporting.html.roofline import roofline_plot
from attnbench.reporting.html.samples import SampledCase, SamplesPlot
from attnbench.reporting.html.sweeps import dims_text, implementation, sweeps
from attnbench.reporting.html.table import HtmlTable, batch_orders
from attnbench.reporting.html.winners import WinnerMap, winner_maps
from attnbench.reporting.notes import drifts, numbered, row_notes, what_ran
from attnbench.reporting.ranking import counts, legend
from attnbench.reporting.tables import result_columns
from attnbench.results.cohort import Cohort
from attnbench.results.report import Report
from attnbench.results.samples import Quantiles

_MOST_BATCHES = 60  # rows of a plot that fit a screen or two


@dataclass(frozen=True, slots=True)
class ReportPart:
    """The part of a page about one family, method and machine model."""

    key: str  # unique in the page
    title: str
    shared: str
    findings: Sequence[str]
    table: HtmlTable | None  # None if nothing has a time
    notes: Sequence[str]
    failures: Sequence[str]
    plots: Sequence[Plot]
    maps: Sequence[WinnerMap]
    samples: Plot | None


def report_page(report: Report, quantiles: Quantiles) -> str:
    """The page of a report; UsageError without the extra html."""
    require_extra()
    listed = [cohort for each in report.selections for cohort in report.cohorts_of(each)]
    parts = [_part(cohort, quantiles, f"part{at}") for at, cohort in enumerate(listed)]
    plots = [plot for part in parts for plot in (*part.plots, part.samples) if plot]
    prints = [fingerprint(run, report.sentinels[number]) for number, run in report.runs.items()]
    return render("report.html", plots, {"parts": parts, "fingerprints": prints})


def _part(cohort: Cohort, quantiles: Quantiles, key: str) -> ReportPart:
    timed, fields = cohort.timed, cohort.fields
    names = dict.fromkeys(implementation(each.case, fields) for each in timed)
    slots = {name: slot for slot, name in enumerate(names)}
    samples = _samples(cohort, quantiles, f"{key}-samples")
    return ReportPart(
        key,
        title=cohort.subject,
        shared=_shared(cohort),
        findings=[
            _counts(cohort),
            *counts(cohort.rankings, lambda c: implementation(c.case, fields)),
        ],
        table=_table(cohort, samples, f"{key}-samples") if timed else None,
        notes=_notes(cohort),
        failures=cohort.failures(),
        plots=_plots(cohort, slots, key) if cohort.right else [],
        maps=winner_maps(cohort.rankings, fields, slots),
        samples=samples.plot,
    )


def _shared(cohort: Cohort) -> str:
    """The facts that all rows share, including the batch if there is no column for it."""
    batch = f"batch {batch_text(cohort.timed[0].case)}" if cohort.one_batch else ""
    return ", ".join(filter(None, [batch, cohort.shared]))


def _counts(cohort: Cohort) -> str:
    count, failed = len(cohort.timed), len(cohort.series) - len(cohort.timed)
    without = f", {failed} without a time" if failed else ""
    cases = f"{count} case{'s' * (count != 1)} measured{without}"
    rounds = f"{cohort.rounds} round{'s' * (cohort.rounds != 1)}"
    return f"{cases}; {rounds}" if count else cases


def _table(cohort: Cohort, samples: SamplesPlot, samples_key: str) -> HtmlTable:
    marks, _ = numbered(row_notes(cohort))
    columns = result_columns(cohort, marks, host=True)
    table = HtmlTable.of("Results", columns, batch_orders(cohort.timed))
    return table.with_samples(samples.choices, samples_key) if samples.plot else table


def _notes(cohort: Cohort) -> list[str]:
    if not cohort.timed:
        return []
    _, notes = numbered(row_notes(cohort))
    return [
        *legend(cohort.rankings),
        *cycle_lines(cohort),
        *notes,
        *what_ran(cohort.timed),
        *drifts(cohort.reached),
    ]


def _plots(cohort: Cohort, slots: Slots, key: str) -> list[Plot]:
    right = cohort.right
    found = [
        _latency_plot(cohort, right, slots, f"{key}-latency"),
        crossover_plot(cohort, right, f"{key}-crossover"),
        roofline_plot(cohort, right, slots, f"{key}-roofline"),
    ]
    return [plot for plot in found if plot]


def _latency_plot(cohort: Cohort, right: Sequence[Series], slots: Slots, key: str) -> Plot:
    choices = [
        PlotChoice(
            dims_text(sweep.fixed) or f"over {sweep.axis}",
            sweep_figure(sweep, cohort.fields, slots),
            f"over {sweep.axis}",
        )
        for sweep in sweeps(right, cohort.fields)
    ]
    if len({each.first.workload_key for each in right}) <= _MOST_BATCHES or not choices:
        choices.append(
            PlotChoice("every workload", batches_figure(right, cohort.fields, slots), "by workload")
        )
    caption = "Bars show half the range of the rounds' medians, up and down."
    return Plot(key, "Latency", caption, choices)


def _samples(cohort: Cohort, quantiles: Quantiles, key: str) -> SamplesPlot:
    listed = [
        SampledCase(batch_text(each.case), cohort.fields.describe(each.case), {"": each})
        for each in cohort.timed
    ]
    return SamplesPlot.of(listed, quantiles, key)
