"""The data of "my shape": each workload's quantities, with its implementations from the best on."""

from collections.abc import Sequence
from typing import Any

from attnbench.analysis.fields import Fields
from attnbench.analysis.ranking import Standing
from attnbench.analysis.series import Series
from attnbench.reporting.html.sweeps import dims_of, implementation
from attnbench.reporting.html.workloads import Workload
from attnbench.reporting.ranking import interval_text, place_text
from attnbench.units import MISSING, seconds_text


def picker(workloads: Sequence[Workload], fields: Fields) -> dict[str, Any]:
    """The shapes that can be picked, in the order of the workloads."""
    listed = [_shape(each, fields) for each in workloads]
    if any("spread" in each["dims"] for each in listed):
        for each in listed:
            each["dims"].setdefault("spread", "equal")
    return {"listed": listed}


def kinds(workloads: Sequence[Workload]) -> list[str]:
    """The kinds of batches, the most frequent first."""
    found = [each.kind for each in workloads]
    return sorted(dict.fromkeys(found), key=lambda kind: -found.count(kind))


def _shape(workload: Workload, fields: Fields) -> dict[str, Any]:
    dims = dims_of(workload.rows[0].case, fields)
    pairs = zip(workload.rows, workload.standings, strict=True)
    return {
        "kind": workload.kind,
        "dims": {name: value for name, value in dims.items() if name != "context"},
        "workload": workload.name,
        "sentence": workload.finding,
        "rows": [_row(series, standing, fields) for series, standing in pairs],
    }


def _row(series: Series, standing: Standing | None, fields: Fields) -> list[str]:
    interval = interval_text(standing)
    place = place_text(standing) if standing else "impossible"
    beside = f" [{interval}]" if interval != MISSING else ""
    return [implementation(series.case, fields), seconds_text(series.time or 0.0), place + beside]
