"""The results table of measuring commands and `report`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from attnbench.analysis.fields import spec
from attnbench.analysis.series import Series
from attnbench.families import family_of
from attnbench.records import Outcome
from attnbench.reporting.auto import auto_lines
from attnbench.reporting.budget import budget_column, budget_note
from attnbench.reporting.choices import choice_lines
from attnbench.reporting.clocks import cycle_lines
from attnbench.reporting.columns import field_columns
from attnbench.reporting.conclusions import conclusions
from attnbench.reporting.headings import heading_with_batch
from attnbench.reporting.notes import chosen_by_row, marked, table_notes, what_ran
from attnbench.reporting.ranking import legend, place_text
from attnbench.reporting.text_table import (
    WIDTH,
    Column,
    Style,
    items,
    known,
    names,
    text_table,
    with_looks,
)
from attnbench.results.cards import card_of
from attnbench.results.cohort import Cohort
from attnbench.specs.budget import Budget
from attnbench.units import (
    MISSING,
    byte_rate_column,
    bytes_column,
    cycles_column,
    flop_rate_column,
    percent_column,
    seconds_column,
)

Fact = Callable[[Outcome], float | None]

ID_DIGITS = 8  # of a case's key, in tables
_WIDEST = 1.0  # largest relative half interval that is shown


@dataclass(frozen=True, slots=True)
class Extra:
    """What the tables of results show beside the usual."""

    host: bool = False  # the host's cost of a call and of its plan
    ids: bool = False  # the key of each case
    verbose: bool = False  # what each backend chose, and every line on a knob
    budget: Budget | None = None  # the part of it that the calls of all layers take


NO_EXTRA = Extra()


def results_tables(
    listed: Sequence[Cohort], style: Style = "table", width: int = WIDTH, extra: Extra = NO_EXTRA
) -> str:
    """A table per cohort, and below it the cases without a time; then conclusions over all.

    On a narrow terminal columns are left out and named, the fraction of measured rates first.
    """
    texts = [_section_text(each, style, width, extra) for each in listed]
    return "\n\n".join([*texts, *conclusions(listed, style, width)])


def _section_text(cohort: Cohort, style: Style, width: int, extra: Extra) -> str:
    blocks = [heading_with_batch(cohort, style, width)]
    if cohort.timed:
        marks, notes = marked(cohort)
        columns = with_looks(result_columns(cohort, marks, extra), _looks(cohort))
        blocks.append(text_table(columns, style, width))
        blocks.append(items(_lines(cohort, notes, extra), style, width))
        blocks.append(items(choice_lines(cohort, is_short=not extra.verbose), style, width))
    blocks.append(items(cohort.failures(), style, width))
    return "\n\n".join(filter(None, blocks))


def _lines(cohort: Cohort, notes: Sequence[str], extra: Extra) -> list[str]:
    """The lines below a table, with the `notes` that its marks stand for."""
    unknown = extra.host and not _host_columns(cohort.timed)
    return [
        *legend(cohort.rankings),
        *auto_lines(cohort),
        *cycle_lines(cohort),
        *notes,
        *(what_ran(cohort.timed) if extra.verbose else []),
        *table_notes(cohort),
        *([budget_note(extra.budget)] if extra.budget else []),
        *(["the host's time for a call is unknown for these cases"] if unknown else []),
    ]


def _looks(cohort: Cohort) -> list[str]:
    """The place of each row where it matters at a glance: the best, the unclear and the wrong."""
    places = [standing.place if standing else "" for standing in cohort.standings]
    shown = [place if place in ("best", "unclear") else "" for place in places]
    return ["wrong" if wrong else p for wrong, p in zip(cohort.wrong, shown, strict=True)]


def result_columns(cohort: Cohort, marks: Sequence[str], extra: Extra) -> list[Column]:
    """The columns of rows with a time; `marks` stand for their notes."""
    timed, host, budget = cohort.timed, extra.host, extra.budget
    flop_rates = flop_rate_column([each.flops_per_second for each in timed])
    byte_rates = byte_rate_column([each.bytes_per_second for each in timed])
    columns = [
        *(_ids(timed) if extra.ids else []),
        *([] if cohort.one_batch else [spec_column(timed)]),
        *field_columns(cohort.fields, timed),
        *_card_column(cohort),
        *_path_columns(timed),
        _latency_column(cohort),
        # Half the time's own interval; rows are ranked by the interval against the best.
        *_known("+-", *_reach_column([each.spread for each in timed]), optional=True),
        *known(*cycles_column([each.cycles for each in timed]), optional=True),
        *(_host_columns(timed) if host else []),
        *known(*flop_rates, optional=host, spare=True),
        *known(*byte_rates, optional=host, spare=True),
        *_known("roof", *percent_column(cohort.roofline_fractions), spare=True),
        *_known("of\nmeas", *percent_column(cohort.measured_fractions), optional=True),
        *([] if budget is None else [budget_column(budget, [each.time for each in timed])]),
        *_known(
            "memory",
            *bytes_column([_most(each, lambda outcome: outcome.peak_memory) for each in timed]),
            spare=True,
        ),
    ]
    columns += [*_chosen_column(timed), *_against_best(cohort)]
    if any(marks):
        columns.append(Column("note", marks, left=True))
    return columns


def spec_column(listed: Sequence[Series]) -> Column:
    """The batch of each row; for cache writes the number of tokens."""
    if family_of(listed[0].case).counts_tokens:
        return Column("tokens", [str(each.case.batch.num_tokens) for each in listed])
    return names("spec", [spec(each.case.batch) for each in listed])


def _path_columns(listed: Sequence[Series]) -> list[Column]:
    """The number of requests on each path, if a threshold decides it or backends differ."""
    splits: dict[str, set[object]] = {}
    for each in listed:
        taken = each.timed[0].outcome.decode_requests
        splits.setdefault(each.first.workload_key, set()).add(taken)
    two_paths = family_of(listed[0].case).two_paths
    differ = two_paths and any(len(taken) > 1 for taken in splits.values())
    if not differ and not any(each.case.knob("threshold") for each in listed):
        return []
    work = [each.timed[0].outcome for each in listed]
    return [
        Column("decode\nreqs", [str(each.decode_requests) for each in work], spare=True),
        Column("prefill\nreqs", [str(each.prefill_requests) for each in work], spare=True),
    ]


def _card_column(cohort: Cohort) -> list[Column]:
    """The card of each row, if several measured them."""
    if not cohort.cards:
        return []
    return [Column("card", [card_of(each, cohort.cards) for each in cohort.timed], left=True)]


def _chosen_column(listed: Sequence[Series]) -> list[Column]:
    """What backends chose for themselves, if a backend chose differently among the rows."""
    texts = [text or MISSING for text in chosen_by_row(listed)]
    return [Column("chose", texts, left=True, optional=True)] if {*texts} != {MISSING} else []


def _known(
    name: str, unit: str, texts: Sequence[str], *, optional: bool = False, spare: bool = False
) -> list[Column]:
    """A column with its unit under its name; none if all values are unknown."""
    return known(f"{name}\n{unit}", texts, optional=optional, spare=spare)


def _latency_column(cohort: Cohort) -> Column:
    """The times; an impossible one has a mark, so it is not taken for a result."""
    unit, texts = seconds_column([each.time for each in cohort.timed])
    marked = [f"!{t}" if wrong else t for t, wrong in zip(texts, cohort.wrong, strict=True)]
    return Column(f"latency\n{unit}", marked)


def _host_columns(timed: Sequence[Series]) -> list[Column]:
    """The host's time for launching a call and for planning it."""
    enqueue = [_median(each, lambda outcome: outcome.enqueue_seconds) for each in timed]
    plan = [_median(each, lambda outcome: outcome.plan_seconds) for each in timed]
    return [
        *_known("enqueue", *seconds_column(enqueue)),
        *_known("plan", *seconds_column(plan)),
    ]


def _most(series: Series, fact: Fact) -> float | None:
    return max(_numbers(series, fact), default=None)


def _median(series: Series, fact: Fact) -> float | None:
    numbers = _numbers(series, fact)
    return median(numbers) if numbers else None


def _numbers(series: Series, fact: Fact) -> list[float]:
    """The known values of a fact in the timed rounds."""
    values = [fact(each.outcome) for each in series.timed]
    return [value for value in values if value is not None]


def _ids(timed: Sequence[Series]) -> list[Column]:
    return [Column("case", [each.first.case_key[:ID_DIGITS] for each in timed], left=True)]


def _against_best(cohort: Cohort) -> list[Column]:
    """Each row's place, or its time over the best's with half the 95 % interval."""
    if all(ranking.outcome == "alone" for ranking in cohort.rankings):
        return []
    factors = [MISSING if each is None else place_text(each) for each in cohort.standings]
    reaches = [None if each is None else each.reach for each in cohort.standings]
    return [Column("vs\nbest", factors), *_known("+-", *_reach_column(reaches))]


def _reach_column(reaches: Sequence[float | None]) -> tuple[str, list[str]]:
    """Fractions in percent; very different rounds have an interval of any length."""
    unit, texts = percent_column(reaches)
    shown = [
        f">{_WIDEST:.0%}"[:-1] if reach and reach > _WIDEST else text
        for reach, text in zip(reaches, texts, strict=True)
    ]
    return unit, shown
