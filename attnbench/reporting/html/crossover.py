"""From which query length on a batch is better sent down the prefill path."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Literal

from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.fields import Fields
from attnbench.analysis.series import Series
from attnbench.analysis.standing import standings
from attnbench.reporting.html.figures import (
    Choice,
    Json,
    Plot,
    in_unit,
    line,
    log_axis,
    time_axis,
)
from attnbench.reporting.html.sweeps import Sweep, dims_text, implementation, size_text, sweeps
from attnbench.results.cohort import Cohort

Path = Literal["decode", "prefill"]
_PATHS: tuple[Path, ...] = ("decode", "prefill")
_LEAST = 2  # places where both paths have a time

Places = dict[float, dict[Path, Series]]


def crossover_plot(cohort: Cohort, plotted: Sequence[Series], key: str) -> Plot | None:
    """Where the same backend took both paths, as with several thresholds; None where none did."""
    found = [
        (name, sweep, places)
        for sweep in sweeps(plotted, cohort.fields)
        if sweep.axis == "q_len"
        for name, places in _by_path(sweep, cohort.fields).items()
        if sum(len(paths) == len(_PATHS) for paths in places.values()) >= _LEAST
    ]
    if not found:
        return None
    choices = [
        Choice(dims_text(sweep.fixed) or name, _figure(places, _finding(cohort, places)), name)
        for name, sweep, places in found
    ]
    caption = "The same requests down the backend's decode path and down its prefill path."
    return Plot(key, "Decode or prefill", caption, choices)


def path(series: Series) -> Path | None:
    """The one that all requests took; None where they took both."""
    work = series.timed[0].outcome
    if not work.prefill_requests:
        return "decode"
    return None if work.decode_requests else "prefill"


def _by_path(sweep: Sweep, fields: Fields) -> dict[str, Places]:
    """By implementation, whatever its threshold, and by place the first series on each path."""
    found: dict[str, Places] = defaultdict(lambda: defaultdict(dict))
    for place, series in sweep.points:
        if (taken := path(series)) is not None:
            name = implementation(series.case, fields, "threshold")
            found[name][place].setdefault(taken, series)
    return found


def _finding(cohort: Cohort, places: Places) -> str:
    """Up to where decode is faster and from where on prefill is, by verdicts, if once only."""
    both = {place: paths for place, paths in sorted(places.items()) if len(paths) == len(_PATHS)}
    listed = [series for paths in both.values() for series in paths.values()]
    shown = {id(s.series): s.place for s in standings(listed, partial(_noise, cohort))}
    decode, prefill = (
        [place for place, paths in both.items() if shown[id(paths[other])] == "slower"]
        for other in ("prefill", "decode")
    )
    if decode and prefill and max(decode) > min(prefill):
        return "no single crossover"
    texts = [f"decode faster up to {size_text(int(max(decode)))}"] if decode else []
    texts += [f"prefill faster from {size_text(int(min(prefill)))}"] if prefill else []
    return ", ".join(texts) or "no difference shown"


def _noise(cohort: Cohort, series: Series, cell: Cell) -> Noise:
    first = series.first
    return cohort.noise(first.machine_key, first.machine_model, first.case.family, cell.stratum)


def _figure(places: Places, finding: str) -> Json:
    lines = {
        path: [(p, paths[path]) for p, paths in sorted(places.items()) if path in paths]
        for path in _PATHS
    }
    times = [series.time or 0.0 for points in lines.values() for _, series in points]
    unit, size = in_unit(times)
    return {
        "data": [
            line(f"{path} path", slot, points, "q_len", unit, size)
            for slot, (path, points) in enumerate(lines.items())
        ],
        "layout": {
            "title": {"text": finding},
            "xaxis": log_axis("q_len", list(places), named=True),
            "yaxis": time_axis("latency", times),
        },
    }
