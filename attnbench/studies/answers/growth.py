"""How the time of attention grows with a length, and the time of all layers of a model."""

import math
from collections.abc import Sequence

from attnbench.analysis.axes import axis_text, axis_value
from attnbench.analysis.fields import batch_text
from attnbench.analysis.series import Series
from attnbench.specs.case import Case
from attnbench.studies.analysis import GrowthAnalysis
from attnbench.studies.answers.base import Answer, Table, describe, never_ran, not_answered, varying
from attnbench.studies.charts import Lines, Spot
from attnbench.units import flop_rate_column, seconds_column


def answer(listed: Sequence[Series], asked: GrowthAnalysis) -> Answer:
    """A sentence and a plotted line per implementation, a row per length."""
    if sentence := not_answered(listed):
        return Answer([sentence])
    timed = [each for each in listed if each.time is not None]
    groups: dict[str, list[Series]] = {}
    for each in timed:
        groups.setdefault(_name(each.case, [t.case for t in timed], asked), []).append(each)
    lines = [_line(name, _ordered(group, asked), asked) for name, group in groups.items()]
    return Answer([*lines, *never_ran(listed)], [_table(groups, asked)], [_chart(groups, asked)])


def _name(case: Case, cases: Sequence[Case], asked: GrowthAnalysis) -> str:
    names = dict.fromkeys(name for each in cases for name in each.canonical())
    names.pop("batch")
    axes = varying(cases, [*names, "batch_size"])
    beside = describe(case, [name for name in axes if name not in ("backend", asked.over)])
    return f"{case.backend}, {beside}" if beside else case.backend


def _ordered(group: Sequence[Series], asked: GrowthAnalysis) -> list[Series]:
    return sorted(group, key=lambda each: _length(each, asked))


def _length(series: Series, asked: GrowthAnalysis) -> float:
    return float(axis_value(series.case, asked.over) or 0)


def _line(name: str, group: Sequence[Series], asked: GrowthAnalysis) -> str:
    last = group[-1]
    unit, (text,) = seconds_column([asked.layers * (last.time or 0.0)])
    layers = f"{asked.layers} layers take" if asked.layers > 1 else "a layer takes"
    line = f"{name}: {layers} {text} {unit} at {batch_text(last.case)}"
    if len(group) > 1:
        before = group[-2]
        exponent = math.log((last.time or 1) / (before.time or 1)) / math.log(
            _length(last, asked) / _length(before, asked)
        )
        line += (
            f"; from {axis_text(before.case, asked.over)} to {axis_text(last.case, asked.over)} "
            f"it grows as {asked.over}^{exponent:.2f}"
        )
    return line


def _table(groups: dict[str, list[Series]], asked: GrowthAnalysis) -> Table:
    rows = [(name, each) for name, group in groups.items() for each in _ordered(group, asked)]
    unit, times = seconds_column([each.time for _, each in rows])
    total, all_layers = seconds_column([asked.layers * (each.time or 0.0) for _, each in rows])
    rate, rates = flop_rate_column([each.flops_per_second for _, each in rows])
    columns = {
        "backend": [name for name, _ in rows],
        "spec": [batch_text(each.case) for _, each in rows],
        f"a layer, {unit}": times,
        f"{asked.layers} layers, {total}": all_layers,
        rate: rates,
    }
    return Table("Attention alone: no projection, no MLP, no sampling", columns)


def _chart(groups: dict[str, list[Series]], asked: GrowthAnalysis) -> Lines:
    series: dict[str, list[Spot]] = {
        name: [
            (_length(each, asked), 1e3 * asked.layers * (each.time or 0.0), None, None)
            for each in _ordered(group, asked)
        ]
        for name, group in groups.items()
    }
    label = asked.over.replace("_", " ")
    return Lines(f"Attention of {asked.layers} layers", label, "ms", series, log_y=True)
