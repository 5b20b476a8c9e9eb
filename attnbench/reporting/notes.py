"""Notes on the times of a table, each given once."""

import math
from collections.abc import Mapping, Sequence

from attnbench.analysis.fields import unasked
from attnbench.analysis.series import Series
from attnbench.labels import Label, explained
from attnbench.results.cohort import Cohort
from attnbench.results.sentinels import moved
from attnbench.timing.sentinels import DRIFT, Sentinels, drift
from attnbench.units import seconds_text

_LAUNCH = math.log(1.1)  # of an empty kernel: within one process its time moves by less, or jumps


def row_notes(cohort: Cohort) -> list[list[str]]:
    """The warnings of each row, and its resolved settings if these differ."""
    varied = unasked(cohort.timed)
    notes = []
    for each, wrong in zip(cohort.timed, cohort.wrong, strict=True):
        values = varied[each.case.backend]
        chosen = [f"{n} {v}" for n, v in each.resolved.items() if len(values[n]) > 1]
        notes.append([*warnings(each, cohort, wrong=wrong), *chosen])
    return notes


def warnings(series: Series, cohort: Cohort, *, wrong: bool) -> list[str]:
    """Reasons to trust the time of a series less than others."""
    labels = dict.fromkeys(series.labels)
    if wrong:
        labels[Label.ABOVE_ROOFLINE] = None
    found = list(map(explained, labels))
    if series.cache_state != (asked := series.first.method["cache"]):
        state = series.cache_state
        found.append(f"cache {state}, not {asked}: too few working sets to exceed it")
    if series.regime == "mixed":
        found.append("only some of its rounds were timed under load")
    if len(series.medians) < cohort.rounds:
        found.append(f"{len(series.medians)} of {cohort.rounds} rounds")
    return found


def shared_by_all(notes: Sequence[Sequence[str]]) -> list[str]:
    """The notes that every row has."""
    return [text for text in notes[0] if all(text in row for row in notes)]


def numbered(notes: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """The numbers of each row's notes, and a line per note; common notes have no number."""
    shared = shared_by_all(notes)
    texts = dict.fromkeys(text for row in notes for text in row if text not in shared)
    numbers = {text: number for number, text in enumerate(texts, 1)}
    marks = [",".join(str(numbers[n]) for n in numbers if n in row) for row in notes]
    lines = [f"{number}: {text}" for text, number in numbers.items()]
    return marks, [*lines, *(f"all rows: {text}" for text in shared)]


def what_ran(timed: Sequence[Series]) -> list[str]:
    """A line per backend on its own choices that are the same in all rows."""
    lines = []
    for backend, fields in unasked(timed).items():
        chosen = [f"{name} {values[0]}" for name, values in fields.items() if len(values) == 1]
        if chosen:
            lines.append(f"{backend} chose {', '.join(chosen)}")
    return lines


def drifts(sentinels: Mapping[int, Mapping[str, Sentinels]]) -> list[str]:
    """Lines on runs whose device, or process, changed between start and end."""
    lines = []
    for run, moments in sentinels.items():
        if "start" in moments and "end" in moments:
            start, end = moments["start"], moments["end"]
            found = drift(start, end)
            if changed := moved({n: x for n, x in found.items() if abs(x) > DRIFT}):
                lines.append(
                    f"the device drifted from run {run}'s start to its end: {', '.join(changed)}"
                )
            lines += _launching(run, start.launch_seconds, end.launch_seconds)
    return lines


def _launching(run: int, start: float | None, end: float | None) -> list[str]:
    if not start or not end or abs(math.log(end / start)) <= _LAUNCH:
        return []
    return [
        f"an empty kernel of a graph took {seconds_text(start)} at run {run}'s start and "
        f"{seconds_text(end)} at its end: times of short kernels in it do not compare"
    ]
