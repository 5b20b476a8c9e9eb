"""Notes on the times of a table, each given once."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from attnbench.analysis.across import BETWEEN, field_of
from attnbench.analysis.fields import unasked
from attnbench.analysis.series import Series
from attnbench.labels import Label, explained
from attnbench.records import OUTSIDE, QUERY_JOIN
from attnbench.results.cards import split_workloads
from attnbench.results.cohort import Cohort
from attnbench.results.sentinels import moved
from attnbench.timing.sentinels import DRIFT, Sentinels, drift
from attnbench.units import counted, seconds_text

_ROUNDS = re.compile(r"(\d+) of (\d+) rounds")
_DISTURBED = math.log(1.1)  # of a rate: from here on the note says what to do
_QUIETER = "; other processes or a changing clock may be the cause: measure on a quieter machine"
_LAUNCH = math.log(1.1)  # of an empty kernel: within one process its time moves by less, or jumps


# The letter of each label at a row.
LETTERS: Mapping[str, str] = {
    Label.WIDE_INTERVAL: "W",
    Label.OUTLIERS: "O",
    Label.BIMODAL: "B",
    Label.SUSTAINED: "S",
    Label.LAUNCH_BOUND: "L",
    Label.EAGER_FALLBACK: "E",
    Label.POWER_LIMITED: "P",
    Label.THERMAL: "T",
    Label.CLOCK_MOVED: "C",
    Label.MEMORY_CLOCK: "M",
    Label.SHARED_GPU: "G",
    Label.SAME_INPUTS: "I",
    Label.ABOVE_ROOFLINE: "R",
}
_ALMOST_ALL = 0.8  # of the rows: from here on a note names the others
_EXCEPTIONS = 5  # that are named at most


def row_notes(cohort: Cohort) -> list[list[str]]:
    """The warnings of each row."""
    return [
        warnings(each, cohort, wrong=wrong)
        for each, wrong in zip(cohort.timed, cohort.wrong, strict=True)
    ]


def table_notes(cohort: Cohort) -> list[str]:
    """Lines on how all of a table was measured."""
    return [
        *_layer_note(cohort),
        *queries_note(cohort.timed),
        *_drifts(cohort.reached),
        *_cards_note(cohort),
    ]


def _cards_note(cohort: Cohort) -> list[str]:
    """That cards of one model share the table, and whether rows of one workload are of several."""
    if not cohort.cards:
        return []
    names, split = ", ".join(cohort.cards.values()), split_workloads(cohort.timed)
    if not split:
        return [
            f"{len(cohort.cards)} cards of this model share the table ({names}); each workload "
            "was measured on one"
        ]
    return [
        f"{len(cohort.cards)} cards of this model share the table ({names}); the rows of "
        f"{counted(split, 'workload')} are of several, so a difference may be the card's"
    ]


def _layer_note(cohort: Cohort) -> list[str]:
    """What stood between the calls of a table, and why other calls are in another."""
    if all(field_of(each, BETWEEN) != "layer" for each in cohort.series):
        return []
    return [
        "between layer: a decoder layer's products run before each call, as in a server, and are "
        "not in its time; calls timed back to back, as prefills are, have a table of their own"
    ]


def queries_note(listed: Iterable[Series]) -> list[str]:
    """Which backends join queries in a server, but not in these times."""
    joined = sorted(
        {each.case.backend for each in listed if each.resolved.get(OUTSIDE) == QUERY_JOIN}
    )
    if not joined:
        return []
    return [
        f"times of {', '.join(joined)} leave out the joining of queries that a server does in the "
        "call (2 us for one request of 128 heads, 20 us for 64): --scope layer includes it"
    ]


def chosen_by_row(timed: Sequence[Series]) -> list[str]:
    """The settings that each row's backend chose, where it chose differently in others."""
    varied, texts = unasked(timed), []
    for each in timed:
        values = varied[each.case.backend]
        # A batch of a captured size is padded to itself.
        usual = {"padded_to": len(each.case.batch)}
        chosen = [
            f"{name} {value}"
            for name, value in each.resolved.items()
            if len(values[name]) > 1 and usual.get(name) != value
        ]
        texts.append(", ".join(chosen))
    return texts


def warnings(series: Series, cohort: Cohort, *, wrong: bool) -> list[str]:
    """Reasons to trust the time of a series less than others."""
    labels = dict.fromkeys(series.labels)
    if wrong:
        labels[Label.ABOVE_ROOFLINE] = None
    found = list(map(explained, labels))
    if series.cache_state != (asked := series.first.method["cache"]):
        state = series.cache_state
        found.append(f"cache {state}, not {asked}: too few working sets to outgrow the cache")
    if series.regime == "mixed":
        found.append("only some of its rounds were timed under load")
    if len(series.medians) < cohort.rounds:
        found.append(f"{len(series.medians)} of {cohort.rounds} rounds")
    return found


def shared_by_all(notes: Sequence[Sequence[str]]) -> list[str]:
    """The notes that every row has."""
    return [text for text in notes[0] if all(text in row for row in notes)]


def marked(cohort: Cohort) -> tuple[list[str], list[str]]:
    """The marks of each row's notes, and a line per note; a note of almost all rows has no mark."""
    rows = list(zip(cohort.timed, row_notes(cohort), strict=True))
    texts = dict.fromkeys(text for _, notes in rows for text in notes)
    without = {text: [each.case for each, notes in rows if text not in notes] for text in texts}
    common = [text for text in texts if _is_common(len(without[text]), len(rows))]
    marks = _marks([text for text in texts if text not in common])
    lines = [f"{mark}: {text}" for text, mark in marks.items()]
    describe = cohort.fields.describe
    lines += [f"{_all_but([describe(case) for case in without[text]])}: {text}" for text in common]
    return [_joined([marks[text] for text in marks if text in notes]) for _, notes in rows], lines


def _is_common(missing: int, rows: int) -> bool:
    return not missing or (missing <= _EXCEPTIONS and rows - missing >= _ALMOST_ALL * rows)


def _all_but(exceptions: Sequence[str]) -> str:
    return f"all rows but {'; '.join(exceptions)}" if exceptions else "all rows"


def _marks(texts: Sequence[str]) -> dict[str, str]:
    """A label's letter, the rounds of a series that has fewer, or else a number."""
    marks, number = dict[str, str](), 0
    for text in texts:
        rounds = _ROUNDS.fullmatch(text)
        mark = f"{rounds[1]}/{rounds[2]}" if rounds else LETTERS.get(text.partition(":")[0])
        number += mark is None
        marks[text] = mark or str(number)
    return marks


def _joined(marks: Sequence[str]) -> str:
    """The letters as one word, then the other marks: "PCW 2/3"."""
    letters = "".join(mark for mark in marks if mark.isalpha())
    return " ".join(filter(None, [letters, *(mark for mark in marks if not mark.isalpha())]))


def what_ran(timed: Sequence[Series]) -> list[str]:
    """A line per backend on its own choices that are the same in all rows."""
    lines = []
    for backend, fields in unasked(timed).items():
        chosen = [f"{name} {values[0]}" for name, values in fields.items() if len(values) == 1]
        if chosen:
            lines.append(f"{backend} chose {', '.join(chosen)}")
    return lines


def _drifts(sentinels: Mapping[int, Mapping[str, Sentinels]]) -> list[str]:
    """Lines on runs whose device, or process, changed between start and end."""
    lines = []
    for run, moments in sentinels.items():
        if "start" in moments and "end" in moments:
            start, end = moments["start"], moments["end"]
            found = drift(start, end)
            if changed := moved({n: x for n, x in found.items() if abs(x) > DRIFT}):
                advice = _QUIETER * any(abs(x) > _DISTURBED for x in found.values())
                lines.append(
                    f"the device drifted from run {run}'s start to its end: {', '.join(changed)}"
                    f"{advice}"
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
