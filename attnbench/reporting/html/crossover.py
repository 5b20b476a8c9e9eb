"""A plot of the decode and the prefill path over the query length."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from attnbench.analysis.crossover import Crossover, Rounds, find_crossover, points_of
from attnbench.analysis.fields import Fields
from attnbench.analysis.pairing import cell_between
from attnbench.analysis.series import Series
from attnbench.reporting.crossover import crossover_text
from attnbench.reporting.html.figures import (
    Json,
    Plot,
    PlotChoice,
    axis_along,
    crossover_mark,
    in_unit,
    line,
)
from attnbench.reporting.html.sweeps import Sweep, dims_text, implementation, sweeps
from attnbench.results.cohort import Cohort

Path = Literal["decode", "prefill"]
_PATHS: tuple[Path, ...] = ("decode", "prefill")
_PREFILL = _PATHS.index("prefill")
_LEAST = 2  # lengths with times of both paths

Places = dict[float, dict[Path, Series]]


def crossover_plot(cohort: Cohort, plotted: Sequence[Series], key: str) -> Plot | None:
    """The plot of backends that took both paths, as with several thresholds; None without any."""
    found = [
        (name, sweep, places)
        for sweep in sweeps(plotted, cohort.fields)
        if sweep.axis == "q_len"
        for name, places in _by_path(sweep, cohort.fields).items()
        if sum(len(paths) == len(_PATHS) for paths in places.values()) >= _LEAST
    ]
    if not found:
        return None
    findings = _findings(cohort, [places for *_, places in found])
    choices = [
        PlotChoice(dims_text(sweep.fixed) or name, _figure(places, finding), name)
        for (name, sweep, places), finding in zip(found, findings, strict=True)
    ]
    caption = "The same requests on the backend's decode path and on its prefill path."
    return Plot(key, "Decode or prefill", caption, choices)


def path(series: Series) -> Path | None:
    """The path that all requests took; None if they took both."""
    work = series.timed[0].outcome
    if not work.prefill_requests:
        return "decode"
    return None if work.decode_requests else "prefill"


def _by_path(sweep: Sweep, fields: Fields) -> dict[str, Places]:
    """By implementation, without its threshold, and by length the first series on each path."""
    found: dict[str, Places] = defaultdict(lambda: defaultdict(dict))
    for place, series in sweep.points:
        if (taken := path(series)) is not None:
            name = implementation(series.case, fields, "threshold")
            found[name][place].setdefault(taken, series)
    return found


def _findings(cohort: Cohort, curves: Sequence[Places]) -> list[Crossover | None]:
    """Crossovers as in a study of these lengths: curves are judged together, by common rounds."""
    points = points_of(
        {at: _sides(places) for at, places in enumerate(curves)},
        lambda cell: cohort.noise_of(cohort.timed[0], cell),
    )
    return [find_crossover(each) if each else None for each in points.values()]


def _sides(places: Places) -> dict[int, tuple[Rounds, Rounds]]:
    cells = {
        int(place): cell_between("", paths["decode"].times, paths["prefill"].times)
        for place, paths in places.items()
        if len(paths) == len(_PATHS)
    }
    return {x: (cell.base, cell.head) for x, cell in cells.items() if cell.paired}


def _figure(places: Places, found: Crossover | None) -> Json:
    lines = {
        path: [(p, paths[path]) for p, paths in sorted(places.items()) if path in paths]
        for path in _PATHS
    }
    unit, size = in_unit([series.time or 0.0 for points in lines.values() for _, series in points])
    return {
        "title": crossover_text(found) if found else "no length has rounds of both",
        "marks": [crossover_mark(found, "prefill path", _PREFILL)]
        if found and found.estimate
        else [],
        "series": [
            line(f"{path} path", slot, points, size)
            for slot, (path, points) in enumerate(lines.items())
        ],
        "x": axis_along("q_len", list(places)),
        "y": {"label": f"latency, {unit}", "log": True},
    }
