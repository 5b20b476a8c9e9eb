"""The cost or gain of a field's second value against the first."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from attnbench.analysis.axes import axis_text, axis_value
from attnbench.analysis.contrast import Contrast, Judged, contrast_asked
from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.fields import batch_text
from attnbench.analysis.series import Series
from attnbench.analysis.verdict import Verdict
from attnbench.reporting.ranking import change_with_interval
from attnbench.specs.case import Case, Value
from attnbench.studies.analysis import ContrastAnalysis
from attnbench.studies.answers.base import (
    NOT_ANSWERED,
    Answer,
    Table,
    describe,
    not_answered,
    varying,
)
from attnbench.studies.charts import Heat
from attnbench.units import change_in_percent, counted

_VERDICTS: tuple[Verdict, ...] = ("faster", "slower", "same", "unclear")


def answer(listed: Sequence[Series], asked: ContrastAnalysis, noise: NoiseOf) -> Answer:
    """Sentences, a table and a chart for each pair of values."""
    parts = [_of_pair(listed, asked, pair, noise) for pair in asked.pairs]
    return Answer(
        [line for part in parts for line in part.lines],
        [table for part in parts for table in part.tables],
        [chart for part in parts for chart in part.charts],
    )


def _of_pair(
    listed: Sequence[Series], asked: ContrastAnalysis, pair: tuple[str, str], noise: NoiseOf
) -> Answer:
    base, head = pair
    title = f"{head} against {base}"
    for value in pair:
        side = [each for each in listed if axis_text(each.case, asked.field) == value]
        if not side:
            return Answer([f"{title}: {NOT_ANSWERED}no case has {asked.field} {value}"])
        if sentence := not_answered(side, title):
            return Answer([sentence])
    cells = contrast_asked(listed, asked.field, pair, noise, asked.tune)
    if not cells:
        return Answer([f"{title}: {NOT_ANSWERED}no workload has a time of both"])
    lines = [f"{title}: {_summary(cells)}", *_extremes(cells, asked)]
    for name in asked.by:
        lines += [f"{title}, {text}" for text in _grouped(cells, name)]
    return Answer(lines, [_table(title, cells, asked)], [_chart(title, cells, asked)])


def _summary(cells: Sequence[Judged]) -> str:
    counts = Counter(each.comparison.verdict for each in cells)
    listed = ", ".join(f"{counts[v]} {v}" for v in _VERDICTS if counts[v])
    mean = change_with_interval(Contrast.of(cells))
    return f"{mean} time in the geometric mean of {counted(len(cells), 'cell')} ({listed})"


def _extremes(cells: Sequence[Judged], asked: ContrastAnalysis) -> list[str]:
    """The largest loss and the largest gain outside noise."""
    ordered = sorted(cells, key=lambda each: each.comparison.ratio)
    lines = []
    for word, each in (("most", ordered[0]), ("least", ordered[-1])):
        if each.comparison.verdict in ("faster", "slower") and len(cells) > 1:
            verb = "gains" if each.comparison.verdict == "faster" else "loses"
            which = "most, " if (verb == "gains") == (word == "most") else "least, "
            lines.append(
                f"{verb} {which}{change_with_interval(each.comparison)}, at {_where(each, asked)}"
            )
    return lines


def _where(each: Judged, asked: ContrastAnalysis) -> str:
    case = each.base.case
    beside = [n for n in _axes([each], asked) if n != "batch"]
    text = batch_text(case)
    return f"{text}, {describe(case, beside)}" if beside else text


def _grouped(cells: Sequence[Judged], name: str) -> list[str]:
    def value(each: Judged) -> tuple[bool, float, str]:
        found = axis_value(each.base.case, name)
        is_number = isinstance(found, int | float)
        return (not is_number, float(found) if is_number else 0.0, str(found))  # type: ignore[arg-type]

    groups = groupby(sorted(cells, key=value), key=value)
    return [
        f"{name} {axis_text(members[0].base.case, name)}: {_summary(members)}"
        for members in (list(group) for _, group in groups)
    ]


def _axes(cells: Sequence[Judged], asked: ContrastAnalysis) -> list[str]:
    """The axes that vary between rows, except the field and the batch."""
    cases = [each.base.case for each in cells]
    names = dict.fromkeys(name for case in cases for name in case.canonical())
    wanted = [n for n in names if n not in ("batch", "family", asked.field)]
    if len(cells) == 1:
        return [name for name in asked.by if name in names]
    return varying(cases, wanted)


def _table(title: str, cells: Sequence[Judged], asked: ContrastAnalysis) -> Table:
    cases = [each.base.case for each in cells]
    columns = {"spec": [batch_text(case) for case in cases]}
    for name in _axes(cells, asked):
        columns[name.replace("_", " ")] = [axis_text(case, name) for case in cases]
    columns["time"] = [change_with_interval(each.comparison) for each in cells]
    columns["verdict"] = [each.comparison.verdict for each in cells]
    if asked.tune:
        columns["chosen"] = [f"{b.name} | {h.name}" for b, h in ((c.base, c.head) for c in cells)]
    return Table(f"{title}: time of the second over the first, 95 % interval", columns)


def _chart(title: str, cells: Sequence[Judged], asked: ContrastAnalysis) -> Heat:
    """The change of each cell; the columns are the batch axis with the most values."""
    cases = [each.base.case for each in cells]
    along = _along(cases)
    whole_prompts = all(case.batch.max_q_len == case.batch.max_kv_len for case in cases)
    lengths = () if whole_prompts else ("q_len", "kv_len")
    axes = varying(cases, [n for n in (*_axes(cells, asked), "batch_size", *lengths) if n != along])
    rows = _rows(cells, along, axes)
    across = {axis_value(case, along): axis_text(case, along) for case in cases}
    xs = sorted(across, key=lambda x: float(x or 0))
    grid = [[line.get(x) for x in xs] for line in rows.values()]
    return Heat(
        title,
        along,
        ", ".join(axes),
        [across[x] for x in xs],
        list(rows),
        [[_change(each) for each in line] for line in grid],
        [[100 * (each.comparison.ratio - 1) if each else None for each in line] for line in grid],
        "change of the time, %",
    )


def _rows(
    cells: Sequence[Judged], along: str, axes: Sequence[str]
) -> dict[str, dict[Value | None, Judged]]:
    """By row, which the axes name, and by value along the columns."""
    found: dict[str, dict[Value | None, Judged]] = {}
    for each in cells:
        case = each.base.case
        row, x = ", ".join(axis_text(case, name) for name in axes), axis_value(case, along)
        if x in found.get(row, {}):  # mixed batches may have their largest in common
            row = f"{row}, {batch_text(case)}".removeprefix(", ")
        found.setdefault(row, {})[x] = each
    return found


def _change(found: Judged | None) -> str:
    if found is None:
        return ""
    verdict = found.comparison.verdict
    change = f"{change_in_percent(found.comparison.ratio)} %"
    return change if verdict in ("faster", "slower") else f"{change}\n{verdict}"


def _along(cases: Sequence[Case]) -> str:
    """The axis of the batch with the most values."""
    names = ("q_len", "kv_len", "batch_size")
    return max(names, key=lambda name: len({axis_value(case, name) for case in cases}))
