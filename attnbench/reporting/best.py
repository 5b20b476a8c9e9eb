"""The best implementation of each workload, with ties, and how often each was the best."""

from collections.abc import Sequence

from attnbench.analysis.auto import choices
from attnbench.analysis.fields import requested
from attnbench.analysis.ranking import Place, Ranking
from attnbench.reporting.auto import auto_lines, choice_columns
from attnbench.reporting.clocks import cycle_lines
from attnbench.reporting.columns import field_columns
from attnbench.reporting.headings import cohort_heading
from attnbench.reporting.ranking import (
    BESIDE,
    counts,
    firsts,
    interval_text,
    legend,
    place_text,
)
from attnbench.reporting.tables import spec_column
from attnbench.reporting.text_table import Column, Style, items, names, text_table
from attnbench.results.cohort import Cohort
from attnbench.specs.case import WORKLOAD_FIELDS, Case
from attnbench.units import MISSING, counted, seconds_column


def best_tables(listed: Sequence[Cohort], style: Style, width: int) -> str:
    """A table per cohort with a row per workload.

    Next to the best are those that tie with it, the unclear ones, and the fastest of the slower
    ones with the 95 % interval of its time over the best's.
    """
    return "\n\n".join(_section_text(each, style, width) for each in listed)


def _section_text(cohort: Cohort, style: Style, width: int) -> str:
    compared = [each for each in cohort.rankings if each.outcome != "alone"]
    blocks = [cohort_heading(cohort, style, width)]
    if compared:
        blocks.append(text_table(_columns(cohort, compared), style, width))
    lines = [
        *counts(compared, lambda each: _name(cohort, each.case)),
        *auto_lines(cohort),
        *legend(compared),
        *cycle_lines(cohort),
    ]
    if alone := len(cohort.rankings) - len(compared):
        lines.append(f"{counted(alone, 'workload')} with nothing to compare with")
    blocks.append(items(lines, style, width))
    return "\n\n".join(filter(None, blocks))


def _columns(cohort: Cohort, rankings: Sequence[Ranking]) -> list[Column]:
    tops = [each.best.series for each in rankings]
    unit, times = seconds_column([each.time for each in tops])
    nexts = [each.next for each in rankings]
    behind = [_name(cohort, each.contender.case) if each else MISSING for each in nexts]
    best = firsts(rankings, lambda each: _name(cohort, each.case))
    columns = [
        spec_column(tops),
        *field_columns(cohort.fields, tops, WORKLOAD_FIELDS),
        *(names(header, texts, header) for header, texts in best.items()),
        Column(f"latency\n{unit}", times),
        *(c for header, place in BESIDE.items() for c in _beside(header, place, cohort, rankings)),
    ]
    if any(nexts):
        columns += [
            names("next", behind, spare=True),
            Column("vs\nbest", [place_text(e) if e else MISSING for e in nexts], spare=True),
            Column("95 %\ninterval", [interval_text(e) for e in nexts], spare=True),
        ]
    taken = choice_columns(choices(rankings, cohort.series, cohort.noise_of))
    return [*columns, *(names(header, texts, spare=True) for header, texts in taken.items())]


def _beside(header: str, place: Place, cohort: Cohort, rankings: Sequence[Ranking]) -> list[Column]:
    """The others at a place in each workload; no column if there are none."""
    listed = [ranking.at(place) for ranking in rankings]
    texts = ["; ".join(_name(cohort, each.case) for each in those) for those in listed]
    shown = [text or MISSING for text in texts]
    return [names(header, shown, place, spare=True)] if any(texts) else []


def _name(cohort: Cohort, case: Case) -> str:
    """The backend with its options that distinguish rows; only these if all rows share it."""
    asked = requested(case)
    choices = [
        f"{name} {asked[name]}"
        for name in cohort.fields.varying
        if name in asked and name not in WORKLOAD_FIELDS and name != "backend"
    ]
    is_only = "backend" not in cohort.fields.varying
    return " ".join(choices if is_only and choices else [case.backend, *choices])
