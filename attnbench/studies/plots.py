"""A conclusion's charts as PNG or SVG files, drawn with matplotlib."""

import importlib.util
import re
from pathlib import Path
from textwrap import fill

from attnbench.errors import AttnbenchError, UsageError
from attnbench.studies.answers.base import NOT_ANSWERED
from attnbench.studies.charts import Chart, Heat, Rows
from attnbench.studies.conclusion import Conclusion
from attnbench.studies.heat import heat_map
from attnbench.studies.pictures import draw_heat, draw_lines, draw_rows


def require_matplotlib() -> None:
    """Raise UsageError if plots cannot be drawn: better before a study is measured than after."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "plots need matplotlib, which is not installed: pip install 'attnbench[plots]'"
        )


def write_plots(found: Conclusion, folder: Path, form: str) -> list[Path]:
    """Draw each chart into its own file; `form` is png or svg.

    Raises AttnbenchError if a file cannot be written.
    """
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
        size = (max(6.0, 3 + 0.06 * names + 1.2 * len(chart.xs)), 2.2 + 0.5 * len(chart.ys))
    if isinstance(chart, Rows):
        size = (9.0, 2.0 + 0.28 * len(chart.rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    if isinstance(chart, Heat):
        draw_heat(axes, heat_map(chart, found.slots), size[0])
    elif isinstance(chart, Rows):
        draw_rows(axes, chart, found.slots)
    else:
        draw_lines(axes, chart)
    title = fill(_title(found), round(12 * size[0]))
    figure.suptitle(title, fontsize=10, ha="left", x=0.01)
    figure.supxlabel(fill(found.origin or found.where, round(17 * size[0])), fontsize=7)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _title(found: Conclusion) -> str:
    """The first sentence that answers the question; the question without one."""
    return next((line for line in found.answer if NOT_ANSWERED not in line), found.question)
