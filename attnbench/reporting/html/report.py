"""A report as a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

from attnbench.analysis.series import Series
from attnbench.db.store import Store
from attnbench.reporting.fields import batch_text
from attnbench.reporting.html.crossover import crossover_plot
from attnbench.reporting.html.figures import (
    Choice,
    Plot,
    Slots,
    batches_figure,
    sweep_figure,
)
from attnbench.reporting.html.fingerprint import fingerprint
from attnbench.reporting.html.page import render, require_extra
from attnbench.reporting.html.roofline import roofline_plot
from attnbench.reporting.html.samples import Listed, Quantiles, Samples, read_quantiles
from attnbench.reporting.html.sweeps import dims_text, implementation, sweeps
from attnbench.reporting.html.table import Table, batch_orders
from attnbench.reporting.html.winners import WinnerMap, contests_of, headline, winner_maps
from attnbench.reporting.noise import noise_for
from attnbench.reporting.notes import drifts, numbered, row_notes, what_ran
from attnbench.reporting.section import Section, sections
from attnbench.reporting.selection import Selection
from attnbench.reporting.tables import result_columns

_MOST_BATCHES = 60  # rows of a plot that still fits a screen or two


@dataclass(frozen=True, slots=True)
class Part:
    """What a page shows of one family, method and machine model."""

    key: str  # of this part alone in the page
    title: str
    shared: str
    findings: Sequence[str]
    table: Table | None  # None where nothing has a time
    notes: Sequence[str]
    failures: Sequence[str]
    plots: Sequence[Plot]
    maps: Sequence[WinnerMap]
    samples: Plot | None


def report_page(store: Store, selections: Sequence[Selection]) -> str:
    """One page of what each ref selects, in their order. UsageError without the extra html."""
    require_extra()
    runs = {number: run for each in selections for number, run in each.runs.items()}
    sentinels = {number: store.sentinels(number) for number in runs}
    noise = cache(partial(noise_for, store))
    listed = [
        section
        for each in selections
        for section in sections(each.measurements, each.runs, sentinels, noise)
    ]
    quantiles = read_quantiles(store, (series for section in listed for series in section.timed))
    parts = [_part(section, quantiles, f"part{at}") for at, section in enumerate(listed)]
    plots = [plot for part in parts for plot in (*part.plots, part.samples) if plot]
    prints = [fingerprint(run, sentinels[number]) for number, run in runs.items()]
    return render("report.html", plots, {"parts": parts, "fingerprints": prints})


def _part(section: Section, quantiles: Quantiles, key: str) -> Part:
    timed, fields = section.timed, section.fields
    right = [each for each, wrong in zip(timed, section.wrong, strict=True) if not wrong]
    names = dict.fromkeys(implementation(each.case, fields) for each in timed)
    slots = {name: slot for slot, name in enumerate(names)}
    found = contests_of(section.standings)
    samples = _samples(section, quantiles, f"{key}-samples")
    return Part(
        key,
        title=section.subject,
        shared=_shared(section),
        findings=[_counts(section), *headline(found, fields)],
        table=_table(section, samples, f"{key}-samples") if timed else None,
        notes=_notes(section),
        failures=section.failures(),
        plots=_plots(section, right, slots, key) if right else [],
        maps=winner_maps(found, fields, slots),
        samples=samples.plot,
    )


def _shared(section: Section) -> str:
    """What all rows have, the batch too where a table has no column for it."""
    batch = f"batch {batch_text(section.timed[0].case)}" if section.one_batch else ""
    return ", ".join(filter(None, [batch, section.shared]))


def _counts(section: Section) -> str:
    count, failed = len(section.timed), len(section.series) - len(section.timed)
    without = f", {failed} without a time" if failed else ""
    cases = f"{count} case{'s' * (count != 1)} measured{without}"
    rounds = f"{section.rounds} round{'s' * (section.rounds != 1)}"
    return f"{cases}; {rounds}" if count else cases


def _table(section: Section, samples: Samples, samples_key: str) -> Table:
    marks, _ = numbered(row_notes(section))
    columns = result_columns(section, marks, host=True)
    table = Table.of("Results", columns, batch_orders(section.timed))
    return table.with_samples(samples.choices, samples_key) if samples.plot else table


def _notes(section: Section) -> list[str]:
    if not section.timed:
        return []
    _, notes = numbered(row_notes(section))
    return [*notes, *what_ran(section.timed), *drifts(section.reached)]


def _plots(section: Section, right: Sequence[Series], slots: Slots, key: str) -> list[Plot]:
    found = [
        _latency_plot(section, right, slots, f"{key}-latency"),
        crossover_plot(section, right, f"{key}-crossover"),
        roofline_plot(section, right, slots, f"{key}-roofline"),
    ]
    return [plot for plot in found if plot]


def _latency_plot(section: Section, right: Sequence[Series], slots: Slots, key: str) -> Plot:
    choices = [
        Choice(
            dims_text(sweep.fixed) or f"over {sweep.axis}",
            sweep_figure(sweep, section.fields, slots),
            f"over {sweep.axis}",
        )
        for sweep in sweeps(right, section.fields)
    ]
    if len({each.first.workload_key for each in right}) <= _MOST_BATCHES or not choices:
        choices.append(
            Choice("every workload", batches_figure(right, section.fields, slots), "by workload")
        )
    caption = "A bar is half the range of the rounds' medians, up and down."
    return Plot(key, "Latency", caption, choices)


def _samples(section: Section, quantiles: Quantiles, key: str) -> Samples:
    listed = [
        Listed(batch_text(each.case), section.fields.describe(each.case), {"": each})
        for each in section.timed
    ]
    return Samples.of(listed, quantiles, key)
