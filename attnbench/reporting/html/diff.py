"""A diff as an HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from attnbench.analysis.fields import batch_text
from attnbench.reporting.diff_sentence import diff_sentence
from attnbench.reporting.diff_text import (
    beside_times,
    by_cohort,
    cohort_lines,
    failures,
    side_text,
    summary,
    verdict_columns,
)
from attnbench.reporting.html.changes import changes_plot
from attnbench.reporting.html.figures import Plot
from attnbench.reporting.html.fingerprint import fingerprint
from attnbench.reporting.html.page import PageData, render, require_extra
from attnbench.reporting.html.samples import SampledCase, SamplesPlot
from attnbench.reporting.html.table import HtmlTable, batch_orders, led_by
from attnbench.reporting.next_step import commands
from attnbench.results.cohort import SentinelFacts
from attnbench.results.diff import FAILING, VERDICTS, Diff, Row
from attnbench.results.samples import Quantiles
from attnbench.results.suspects import KERNEL_CHANGED

_FIRST = ("verdict", "change\n%", "95 % interval\n%")


@dataclass(frozen=True, slots=True)
class DiffPart:
    """The part of a page about one family, method and machine model."""

    key: str  # unique in the page
    title: str
    shared: str
    table: HtmlTable
    changes: Plot | None
    samples: Plot | None


def diff_page(diff: Diff, quantiles: Quantiles, sentinels: SentinelFacts) -> str:
    """The page of a diff; UsageError without the extra html."""
    require_extra()
    groups = by_cohort(diff.rows)
    parts = [_part(rows, diff, quantiles, f"part{at}") for at, rows in enumerate(groups)]
    plots = [plot for part in parts for plot in (part.changes, part.samples) if plot]
    sides = {"base": diff.base, "head": diff.head}
    prints = [
        replace(found, title=f"{side}: {found.title}")
        for side, selection in sides.items()
        for found in (fingerprint(run, sentinels[number]) for number, run in selection.runs.items())
    ]
    suspects = beside_times(diff)
    kernels = [line for line in suspects if line.startswith(KERNEL_CHANGED)]
    values = {
        "sentence": diff_sentence(diff),
        "kernels": kernels,
        "parts": parts,
        "fingerprints": prints,
        "sides": {side: side_text(selection) for side, selection in sides.items()},
        "counts": diff.counts,
        "alarming": FAILING["slower"],
        "suspects": [line for line in suspects if line not in kernels],
        "summary": summary(diff),
        "commands": commands(diff),
        "leftovers": [*failures(diff.rows), *diff.leftovers],
    }
    return render("diff.html", PageData(plots, [part.table for part in parts]), values)


def _part(rows: Sequence[Row], diff: Diff, quantiles: Quantiles, key: str) -> DiffPart:
    title, shared = cohort_lines(rows, diff)
    samples = _samples(rows, diff, quantiles, f"{key}-samples")
    return DiffPart(
        key,
        title,
        shared,
        table=_table(rows, diff, samples, key),
        changes=changes_plot(rows, diff.describe, f"{key}-changes"),
        samples=samples.plot,
    )


def _table(rows: Sequence[Row], diff: Diff, samples: SamplesPlot, key: str) -> HtmlTable:
    orders = {
        **batch_orders([row.pair.head for row in rows]),
        "verdict": [float(VERDICTS.index(row.verdict)) for row in rows],
    }
    columns = led_by(_FIRST, verdict_columns(rows, diff))
    table = HtmlTable.of(f"{key}-table", "Verdicts, losers first", columns, orders)
    return table.with_samples(samples.choices, f"{key}-samples") if samples.plot else table


def _samples(rows: Sequence[Row], diff: Diff, quantiles: Quantiles, key: str) -> SamplesPlot:
    describe = diff.describe
    listed = [
        SampledCase(
            batch_text(row.pair.head.case),
            describe(row.pair.head.case),
            {"base": row.pair.base, "head": row.pair.head},
        )
        for row in rows
    ]
    return SamplesPlot.of(listed, quantiles, key)
