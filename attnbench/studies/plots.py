"""A conclusion's charts as PNG or SVG files, drawn with matplotlib."""

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attnbench.errors import AttnbenchError
from attnbench.specs.batch import format_size
from attnbench.studies.charts import Chart, Heat, Lines, Spot
from attnbench.studies.conclusion import Conclusion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MISSING = "plots need matplotlib, which is not installed: pip install 'attnbench[plots]'"
_MOST_LINES = 12  # with a name in the legend
_WIDE = 4  # a wider range, as a factor, needs a logarithmic axis
_COLOURS = 9  # of the map for names, the first of them grey
_STRONGEST = 50  # percent of change, beyond which colours stay the same


def write_plots(
    found: Conclusion, folder: Path, form: str, note: Callable[[str], None]
) -> list[Path]:
    """Draw each chart into its own file; `form` is png or svg.

    Without matplotlib, `note` says so and nothing is drawn. Raises AttnbenchError if a file cannot
    be written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        note(MISSING)
        return []
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for at, chart in enumerate(found.charts, 1):
            paths.append(folder / f"{_file_name(found, at, chart)}.{form}")
            _draw(chart, found, paths[-1])
    except OSError as error:
        raise AttnbenchError(f"plots: {folder} could not be written: {error.strerror}") from error
    return paths


def _file_name(found: Conclusion, at: int, chart: Chart) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", f"{found.study}-{at}-{chart.title}".lower()).strip("-")
    return name[:80].rstrip("-")


def _draw(chart: Chart, found: Conclusion, path: Path) -> None:
    from matplotlib.figure import Figure  # needs no display

    size = (8.0, 5.0)
    if isinstance(chart, Heat):
        names = max(map(len, chart.ys), default=0)
        size = (max(6.0, 3 + 0.06 * names + len(chart.xs)), 2 + 0.5 * len(chart.ys))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set(title=chart.title, xlabel=chart.x_label, ylabel=chart.y_label)
    if isinstance(chart, Heat):
        _draw_heat(axes, chart)
    else:
        _draw_lines(axes, chart)
    figure.text(0.01, -0.03, found.where, fontsize=7)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _draw_lines(axes: "Axes", chart: Lines) -> None:
    for name, spots in chart.series.items():
        below, above = _errors(spots)
        xs, ys = [spot[0] for spot in spots], [spot[1] for spot in spots]
        axes.errorbar(xs, ys, yerr=[below, above], label=name, marker="o", capsize=3)
    spots = [spot for listed in chart.series.values() for spot in listed]
    xs = sorted({spot[0] for spot in spots})
    if xs and xs[0] > 0:
        axes.set_xscale("log", base=2)
        axes.set_xticks(xs, [format_size(round(x)) for x in xs])
        axes.minorticks_off()
    ys = [spot[1] for spot in spots]
    if chart.log_y and ys and max(ys) > _WIDE * min(ys):
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    if 1 < len(chart.series) <= _MOST_LINES:
        axes.legend(fontsize=7)


def _errors(spots: Sequence[Spot]) -> tuple[list[float], list[float]]:
    """How far the interval reaches below and above each y; 0 without one."""
    below = [max(0.0, y - low) if low is not None else 0.0 for _, y, low, _ in spots]
    above = [max(0.0, high - y) if high is not None else 0.0 for _, y, _, high in spots]
    return below, above


def _draw_heat(axes: "Axes", chart: Heat) -> None:
    missing = float("nan")
    values = [[missing if v is None else v for v in line] for line in chart.values]
    colours = "Pastel1_r" if chart.named else "RdYlGn_r"
    ends = (0, _COLOURS - 1) if chart.named else (-_STRONGEST, _STRONGEST)
    image = axes.imshow(
        values, aspect="auto", origin="lower", cmap=colours, vmin=ends[0], vmax=ends[1]
    )
    axes.set_xticks(range(len(chart.xs)), chart.xs)
    axes.set_yticks(range(len(chart.ys)), chart.ys)
    for y, line in enumerate(chart.texts):
        for x, text in enumerate(line):
            red, green, blue, shown = image.to_rgba(np.array([values[y][x]]))[0]
            is_dark = shown and 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            ink = "white" if is_dark else "black"
            axes.text(x, y, text, ha="center", va="center", fontsize=7, color=ink)
    axes.set_title(f"{chart.title}\n({chart.legend})", fontsize=9)
