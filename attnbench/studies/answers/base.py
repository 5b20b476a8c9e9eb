"""The parts of every answer."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from attnbench.analysis.auto import choices
from attnbench.analysis.axes import axis_text, axis_value
from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.ranking import Ranking, rank
from attnbench.analysis.series import Series
from attnbench.analysis.tuning import tuned
from attnbench.reasons import in_short
from attnbench.records import Status
from attnbench.reporting.auto import REGRET, SELECTED, choice_lines
from attnbench.reporting.ranking import BESIDE, firsts, place_text
from attnbench.reporting.text_table import Column, names, stacked
from attnbench.specs.case import Case
from attnbench.studies.charts import Chart
from attnbench.units import MISSING

# Columns that are left out on a narrow terminal.
_BESIDE = (*BESIDE, "next", "vs best", SELECTED, REGRET)
NOT_ANSWERED = "not answered here: "


@dataclass(frozen=True, slots=True)
class Table:
    """A heading and equally long columns of texts; numbers are aligned right."""

    heading: str
    columns: Mapping[str, Sequence[str]]
    spare: Collection[str] = ()  # headers of columns that a narrow terminal leaves out

    def text_columns(self) -> list[Column]:
        """Columns of a text table, with names of several words on two lines."""
        return [
            names(name, texts, spare=True)
            if name in _BESIDE
            else (Column if all(map(_is_number, texts)) else names)(
                stacked(name), texts, spare=name in self.spare
            )
            for name, texts in self.columns.items()
        ]


@dataclass(frozen=True, slots=True)
class Answer:
    """Sentences that answer the question, with the tables and charts they are based on."""

    lines: Sequence[str]
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = field(default=())


def not_answered(listed: Sequence[Series], what: str = "") -> str | None:
    """The sentence that none of these cases has a time; None if one does."""
    if any(each.time is not None for each in listed):
        return None
    about = f"{what}: " if what else ""
    reasons = dict.fromkeys(in_short(m.outcome.reason) for each in listed for m in each.failures)
    if not reasons:
        return f"{about}{NOT_ANSWERED}nothing was measured"
    statuses = {m.status for each in listed for m in each.failures}
    failed = "" if statuses == {Status.REFUSED} else "every case failed: "
    return f"{about}{NOT_ANSWERED}{failed}{'; '.join(list(reasons)[:3])}"


def never_ran(listed: Iterable[Series]) -> list[str]:
    """A sentence for each backend of which no case has a time."""
    by_backend: dict[str, list[Series]] = {}
    for each in listed:
        by_backend.setdefault(each.case.backend, []).append(each)
    sentences = (not_answered(own, backend) for backend, own in by_backend.items())
    return [sentence for sentence in sentences if sentence]


def what_auto_loses(listed: Sequence[Series], noise: NoiseOf) -> list[str]:
    """vLLM's own choice against the best backend of each workload; nothing without `auto`."""
    rankings = rank(tuned(listed, ()), lambda _, cell: noise(cell))
    return choice_lines(choices(rankings, listed, lambda _, cell: noise(cell)))


def place_columns(
    rankings: Sequence[Ranking], times: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """The best of each workload, its time, those beside it, and the next slower one."""
    columns: dict[str, Sequence[str]] = {**firsts(rankings, lambda each: each.name), **times}
    for header, place in BESIDE.items():
        beside = ["; ".join(c.name for c in each.at(place)) or MISSING for each in rankings]
        if {*beside} - {MISSING}:
            columns[header] = beside
    columns["next"] = [each.next.contender.name if each.next else MISSING for each in rankings]
    columns["vs best"] = [place_text(each.next) if each.next else MISSING for each in rankings]
    return columns


def varying(cases: Iterable[Case], axes: Iterable[str]) -> list[str]:
    """The axes with more than one value in the cases."""
    listed = list(cases)
    return [name for name in axes if len({axis_value(case, name) for case in listed}) > 1]


def describe(case: Case, axes: Iterable[str]) -> str:
    """The values of some axes: "num_q_heads 16, kv_len 8k"."""
    return ", ".join(f"{name} {axis_text(case, name)}" for name in axes)


def _is_number(text: str) -> bool:
    return text.lstrip("+-~<>").replace(".", "", 1).rstrip("%x ").isdecimal() or text in ("", "-")
