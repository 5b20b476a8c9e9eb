"""The results table: what measuring commands end in, and what `report` shows."""

from collections.abc import Iterable, Mapping, Sequence

from attnbench.analysis.roofline import ABOVE_ROOFLINE, is_impossible, roofline_fraction
from attnbench.analysis.series import Series
from attnbench.db.rows import Run
from attnbench.records import Measurement
from attnbench.reporting.fields import unasked
from attnbench.reporting.grid import WIDTH, Column, Style, grid, items, words
from attnbench.reporting.section import Section, sections
from attnbench.units import (
    MISSING,
    byte_rate_column,
    bytes_column,
    flop_rate_column,
    percent_column,
    seconds_column,
    three_digits,
)

# What a label means to someone who reads the row.
_MEANINGS = {
    "wide_interval": "sampling ended before the median was certain",
    "launch_bound": "launching shows in the time",
    ABOVE_ROOFLINE: "less than the least time that this hardware allows, so it is wrong",
}


def results_table(
    measurements: Iterable[Measurement],
    runs: Mapping[int, Run],
    style: Style = "table",
    width: int = WIDTH,
) -> str:
    """A table for each family, method and machine model, and below it all that has no time.

    `runs` holds, by number, at least the runs that the measurements belong to.
    """
    return "\n\n".join(_section_text(each, style, width) for each in sections(measurements, runs))


def _section_text(section: Section, style: Style, width: int) -> str:
    timed, blocks = section.timed, [section.heading_with_batch(style, width)]
    if timed:
        fractions = [roofline_fraction(each, section.machine) for each in timed]
        marks, notes = _numbered(_notes(section, fractions))
        blocks.append(grid(_columns(section, fractions, marks), style, width))
        blocks.append(items([*notes, *_ran(timed)], style, width))
    blocks.append(items(section.failures(), style, width))
    return "\n\n".join(filter(None, blocks))


def _columns(
    section: Section, fractions: Sequence[float | None], marks: Sequence[str]
) -> list[Column]:
    timed = section.timed
    columns = [
        *([] if section.one_batch else [spec_column(timed)]),
        *section.fields.columns(timed),
        *_path_columns(timed),
        *_known("latency", *seconds_column([each.time for each in timed])),
        *_known("+-", *percent_column([each.spread for each in timed])),
        *_known("", *flop_rate_column([each.flops_per_second for each in timed])),
        *_known("", *byte_rate_column([each.bytes_per_second for each in timed])),
        *_known("roof", *percent_column(fractions)),
        *_known("memory", *bytes_column([_peak_memory(each) for each in timed])),
    ]
    factors = _factors(timed)
    if any(text != MISSING for text in factors):
        columns.append(Column("vs\nbest", factors))
    if any(marks):
        columns.append(Column("note", marks, left=True))
    return columns


def spec_column(listed: Sequence[Series]) -> Column:
    """The batch of each row; for cache writes the number of tokens, which is all that counts."""
    if listed[0].case.family == "cache-write":
        return Column("tokens", [str(each.case.batch.num_tokens) for each in listed])
    return words("spec", [str(each.case.batch) for each in listed])


def _path_columns(listed: Sequence[Series]) -> list[Column]:
    """How many requests took each path, where a threshold decides it."""
    if not any(each.case.knob("threshold") for each in listed):
        return []
    return [
        Column(f"{path}\nreqs", [str(each.timed[0].facts[f"{path}_requests"]) for each in listed])
        for path in ("decode", "prefill")
    ]


def _known(name: str, unit: str, texts: Sequence[str]) -> list[Column]:
    """A column with its unit under its name, none where nothing is known."""
    header = f"{name}\n{unit}".strip()
    return [Column(header, texts)] if any(text != MISSING for text in texts) else []


def _peak_memory(series: Series) -> float | None:
    peaks = [each.facts["peak_memory"] for each in series.timed]
    return max((peak for peak in peaks if isinstance(peak, int)), default=None)


def _factors(timed: Sequence[Series]) -> list[str]:
    """Each time over the best of its workload, where that has several."""
    times: dict[str, list[float]] = {}
    for each in timed:
        times.setdefault(each.first.workload_key, []).append(each.time or 0.0)
    return [_factor(each.time or 0.0, times[each.first.workload_key]) for each in timed]


def _factor(time: float, rivals: Sequence[float]) -> str:
    if len(rivals) == 1:
        return MISSING
    return "best" if time == min(rivals) else f"{three_digits(time / min(rivals))}x"


def _notes(section: Section, fractions: Sequence[float | None]) -> list[list[str]]:
    """For each row what a reader must know of it, and what ran where that differs."""
    varied = unasked(section.timed)
    notes = []
    for each, fraction in zip(section.timed, fractions, strict=True):
        values = varied[each.case.backend]
        chosen = [f"{n} {v}" for n, v in each.resolved.items() if len(values[n]) > 1]
        notes.append([*warnings(each, section, fraction), *chosen])
    return notes


def warnings(series: Series, section: Section, fraction: float | None) -> list[str]:
    """What makes the time of a series mean less than that of others."""
    labels = dict.fromkeys(series.labels)
    if is_impossible(fraction):
        labels[ABOVE_ROOFLINE] = None
    found = [f"{name}: {_MEANINGS[name]}" if name in _MEANINGS else name for name in labels]
    if series.cache_state != (asked := series.first.method["cache"]):
        state = series.cache_state
        found.append(f"cache {state}, not {asked}: too few working sets to outgrow it")
    if len(series.medians) < section.rounds:
        found.append(f"{len(series.medians)} of {section.rounds} rounds")
    return found


def shared_by_all(notes: Sequence[Sequence[str]]) -> list[str]:
    """Those that every row has."""
    return [text for text in notes[0] if all(text in row for row in notes)]


def _numbered(notes: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """The numbers of each row's notes, and a line for each note; what all rows have needs none."""
    shared = shared_by_all(notes)
    texts = dict.fromkeys(text for row in notes for text in row if text not in shared)
    numbers = {text: number for number, text in enumerate(texts, 1)}
    marks = [",".join(str(numbers[n]) for n in numbers if n in row) for row in notes]
    lines = [f"{number}: {text}" for text, number in numbers.items()]
    return marks, [*lines, *(f"all rows: {text}" for text in shared)]


def _ran(timed: Sequence[Series]) -> list[str]:
    """A line for each backend on what it chose by itself, the same in all rows."""
    lines = []
    for backend, fields in unasked(timed).items():
        chosen = [f"{name} {values[0]}" for name, values in fields.items() if len(values) == 1]
        if chosen:
            lines.append(f"{backend} chose {', '.join(chosen)}")
    return lines
