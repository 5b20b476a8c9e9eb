"""The best backend of each shape, with ties."""

from collections.abc import Mapping, Sequence

from attnbench.analysis.auto import AutoChoice, choices, stands_for_another
from attnbench.analysis.axes import SPREAD, axis_text, axis_value
from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.fields import Fields, batch_text
from attnbench.analysis.ranking import Ranking, rank
from attnbench.analysis.series import Series
from attnbench.analysis.tuning import tuned
from attnbench.reporting.auto import choice_columns, choice_lines, loss_in_short
from attnbench.reporting.html.answer import answer as sentences
from attnbench.reporting.html.squares import lead_of
from attnbench.reporting.ranking import legend, place_text
from attnbench.specs.case import Case
from attnbench.studies.analysis import WinnerAnalysis
from attnbench.studies.answers.base import (
    Answer,
    Table,
    describe,
    never_ran,
    not_answered,
    place_columns,
    varying,
)
from attnbench.studies.charts import Chart, Heat
from attnbench.units import seconds_column


def answer(listed: Sequence[Series], asked: WinnerAnalysis, noise: NoiseOf) -> Answer:
    """Which backend is the best where and by how much, a row per workload, a map per shape."""
    if sentence := not_answered(listed):
        return Answer([sentence])
    rankings = rank(tuned(listed, asked.tune), lambda _, cell: noise(cell))
    autos = choices(rankings, listed, lambda _, cell: noise(cell))
    fields = Fields.of([each.best.series.case for each in rankings])
    lines = [*sentences(rankings, fields, lambda each: each.case.backend), *choice_lines(autos)]
    lines += never_ran(each for each in listed if not stands_for_another(each))
    compared = [each for each in rankings if each.outcome != "alone"]
    beside = [a for r, a in zip(rankings, autos, strict=True) if r.outcome != "alone"]
    tables = [_table(compared, beside)] if compared else []
    losses = {id(r): loss_in_short(a) for r, a in zip(rankings, autos, strict=True)}
    return Answer([*lines, *legend(rankings)], tables, _maps(rankings, losses, asked))


def _table(rankings: Sequence[Ranking], autos: Sequence[AutoChoice | None]) -> Table:
    cases = [each.best.case for each in rankings]
    unit, times = seconds_column([each.best.seconds for each in rankings])
    columns: dict[str, Sequence[str]] = {"spec": [batch_text(case) for case in cases]}
    for name in _axes(cases):
        columns[name.replace("_", " ")] = [axis_text(case, name) for case in cases]
    columns |= place_columns(rankings, {unit: times}) | choice_columns(autos)
    return Table("The best of each workload, and the next slower one", columns)


def _axes(cases: Sequence[Case]) -> list[str]:
    names = dict.fromkeys(name for case in cases for name in case.workload)
    return varying(cases, [name for name in names if name not in ("batch", "family")])


def _maps(
    rankings: Sequence[Ranking], losses: Mapping[int, str], asked: WinnerAnalysis
) -> list[Chart]:
    """A map per combination of values that are on neither axis; `losses` are auto's."""
    rows, columns = asked.map
    cases = [each.best.case for each in rankings]
    axes = [*_axes(cases), *varying(cases, ("q_len", "batch_size", "kv_len", SPREAD))]
    rest = [name for name in dict.fromkeys(axes) if name not in (rows, columns)]
    groups: dict[str, list[Ranking]] = {}
    for each in rankings:
        groups.setdefault(_title(each.best.case, rest), []).append(each)
    texts = {
        id(each): "\n".join(filter(None, (_short(each), losses[id(each)]))) for each in rankings
    }
    return [_map(title, group, asked.map, texts) for title, group in groups.items()]


def _title(case: Case, axes: Sequence[str]) -> str:
    """The values not on the map's axes; whole prompts have one length, which the map may show."""
    if case.batch.max_q_len == case.batch.max_kv_len > 1:
        beside = describe(case, [name for name in axes if name not in ("q_len", "kv_len")])
        return f"prefill, {beside}" if beside else "prefill"
    return describe(case, axes)


def _map(
    title: str, group: Sequence[Ranking], axes: tuple[str, str], texts: Mapping[int, str]
) -> Heat:
    (rows, columns), cases = axes, [each.best.case for each in group]
    xs, ys = _values(cases, columns), _values(cases, rows)
    cells = {(axis_text(e.best.case, rows), axis_text(e.best.case, columns)): e for e in group}
    found = [[cells.get((y, x)) for x in xs] for y in ys]
    return Heat(
        "Best backend" + (f": {title}" if title else ""),
        columns,
        rows,
        xs,
        ys,
        [[texts[id(each)] if each else "" for each in line] for line in found],
        [[_lead(each) if each else None for each in line] for line in found],
        "and the next one's time over its; grey: none is shown to be the best",
        named=True,
    )


def _lead(ranking: Ranking) -> float:
    """The next one's time over the winner's; 1 without a winner."""
    return lead_of(ranking) if ranking.outcome == "won" else 1.0


def _short(ranking: Ranking) -> str:
    backend = ranking.best.case.backend
    if ranking.outcome in ("tied", "unclear"):
        among = dict.fromkeys(c.case.backend for c in ranking.at("best", "tie", "unclear"))
        return "\n".join(["tie" if ranking.outcome == "tied" else "unclear", *among])
    if ranking.outcome == "alone":
        return f"only\n{backend}"
    lines = [backend, place_text(ranking.next)] if ranking.next else [backend]
    return "\n".join(["quickest", *lines] if ranking.outcome == "untested" else lines)


def _values(cases: Sequence[Case], name: str) -> list[str]:
    found = {axis_value(case, name): axis_text(case, name) for case in cases}
    return [found[value] for value in sorted(found, key=lambda v: (str(type(v)), v))]
