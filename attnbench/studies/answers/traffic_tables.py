"""Tables and charts of the attention time of a trace's steps."""

from collections.abc import Mapping, Sequence

from attnbench.analysis.estimate import NoiseOf
from attnbench.analysis.fields import spec
from attnbench.analysis.policy import Part, Single, kinds, of_kind, sum_of
from attnbench.analysis.ranking import Ranking, rank
from attnbench.analysis.tuning import Contender
from attnbench.reporting.ranking import change_with_interval, useful_interval
from attnbench.specs.batch import parse_batch_spec
from attnbench.studies.answers.base import Table, place_columns
from attnbench.studies.answers.service import Service
from attnbench.studies.charts import Chart, Rows, RowSpot
from attnbench.studies.traffic import Stratum
from attnbench.units import (
    MISSING,
    counted,
    percent_column,
    seconds_column,
    unit_size,
)

Shares = Mapping[str, tuple[float, float]]  # of the time and of the steps, by kind


def tables(service: Service, noise: NoiseOf) -> list[Table]:
    """Totals by backend, the kinds of steps, and the batches."""
    found = [_totals(service), _kinds(service)] if service.ranked else []
    return [*found, *_batches(service, noise)]


def kind_shares(service: Service, single: Single) -> Shares:
    """Where the time of a contender goes."""
    shares, strata = single.sum.shares, service.asked.strata
    steps = sum(each.steps for each in strata)
    return {
        kind: (
            float(sum(shares[at] for at, part in enumerate(service.parts) if part.kind == kind)),
            sum(each.steps for each in strata if each.kind == kind) / steps,
        )
        for kind in kinds(service.parts)
    }


def charts(service: Service) -> list[Chart]:
    """The time of each backend by kind of step, and by batch."""
    parts, strata = service.parts, service.asked.strata
    by_kind = {kind: of_kind(parts, kind) for kind in kinds(parts)}
    groups = ([*parts], *by_kind.values()) if len(by_kind) > 1 else ([*parts],)
    names = ["all steps", *(f"{kind} steps" for kind in by_kind)][: len(groups)]
    batches = [_stratum_text(each) for each in strata]
    return [
        _rows(service, "Attention time by kind of step", names, groups),
        _rows(service, "Attention time by batch, with its weight", batches, [[p] for p in parts]),
    ]


def _totals(service: Service) -> Table:
    ranked, asked = service.ranked, service.asked
    unit, times = seconds_column([each.sum.seconds for each in ranked])
    columns = {
        "backend": [each.name for each in ranked],
        f"{unit} per M {asked.counted}": times,
        f"95 % interval, {unit}": [_interval(each, 1 / unit_size(unit)) for each in ranked],
    }
    if asked.requests:
        factor = asked.tokens / asked.requests / 1e6
        short, per_request = seconds_column([factor * each.sum.seconds for each in ranked])
        columns[f"{short} per request"] = per_request
    columns["against the best"] = [
        change_with_interval(each.comparison) if each.comparison else "best" for each in ranked
    ]
    listed = [kind_shares(service, each) for each in ranked]
    shares = {
        f"{kind} %": percent_column([each[kind][0] for each in listed])[1]
        for kind in kinds(service.parts)
    }
    heading = f"Time of {service.work} in all {asked.layers} layers on each GPU, by backend"
    if any(each.is_partial for each in ranked):
        heading += "; against the best over the rounds that both have"
    return Table(_titled(service, heading), columns | shares, spare=shares)


def _interval(single: Single, factor: float) -> str:
    if single.sum.interval is None:
        return MISSING
    low, high = single.sum.interval
    return useful_interval(factor * low, factor * single.sum.seconds, factor * high)


def _kinds(service: Service) -> Table:
    single = service.ranked[0]
    shares = kind_shares(service, single)
    columns = {
        "kind": list(shares),
        "steps %": percent_column([steps for _, steps in shares.values()])[1],
        "time %": percent_column([time for time, _ in shares.values()])[1],
        "best": [each.name for each in service.chosen],
        f"against {single.name}": [
            change_with_interval(each.comparison) if each.comparison else MISSING
            for each in service.chosen
        ],
    }
    return Table(_titled(service, f"Kinds of steps; time is {single.name}'s"), columns)


def _batches(service: Service, noise: NoiseOf) -> list[Table]:
    """A row per stratum that some backend has a time of."""
    listed = [each for by in service.series.values() for each in by.values() if each.timed]
    rankings = rank(map(Contender.of, listed), lambda _, cell: noise(cell))
    by_batch: dict[str, Ranking] = {}
    for each in rankings:
        by_batch.setdefault(str(each.best.case.batch), each)
    rows = [(at, s) for at, s in enumerate(service.asked.strata) if s.batch in by_batch]
    found = [by_batch[stratum.batch] for _, stratum in rows]
    unit, times = seconds_column([each.best.seconds for each in found])
    columns: dict[str, Sequence[str]] = {
        "kind": [stratum.kind for _, stratum in rows],
        "batch": [spec(each.best.case.batch) for each in found],
        "steps": [str(stratum.steps) for _, stratum in rows],
    }
    if service.ranked:
        shares = service.ranked[0].sum.shares
        columns["time %"] = percent_column([float(shares[at]) for at, _ in rows])[1]
    columns |= place_columns(found, {unit: times})
    return [Table(_titled(service, "The best of each batch, and the next slower one"), columns)]


def _stratum_text(stratum: Stratum) -> str:
    batch = parse_batch_spec(stratum.batch)
    size = counted(len(batch), "request")
    new = "" if stratum.kind == "decode" else f", {batch.num_tokens} new"
    return f"{stratum.kind}: {size}, {batch.num_kv_tokens} tokens{new}"


def _rows(
    service: Service, title: str, rows: Sequence[str], groups: Sequence[Sequence[Part]]
) -> Rows:
    series: dict[str, list[RowSpot]] = {}
    for name in service.names:
        for at, parts in enumerate(groups):
            if found := sum_of(parts, name):
                low, high = found.interval or (None, None)
                series.setdefault(name, []).append((at, found.seconds, low, high))
    label = f"s per million {service.asked.counted}"
    return Rows(_titled(service, title), label, rows, series)


def _titled(service: Service, text: str) -> str:
    return f"{text}: {service.title}" if service.title else text
