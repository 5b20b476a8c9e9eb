"""Charts drawn with matplotlib, in the colours, dashes and hatches of the pages."""

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from attnbench.reporting.html.figures import Slots
from attnbench.reporting.html.heat import HeatCell, HeatMap
from attnbench.reporting.html.palette import INK, LIGHT, PANEL
from attnbench.specs.batch import format_size
from attnbench.studies.charts import WIDE, Lines, Rows, RowSpot, Spot, is_open, is_wide
from attnbench.studies.heat import STRONGEST, TIE, TINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_DASHES = ("-", "--", ":", "-.", (0, (12, 4)), (0, (5, 2)), (0, (1, 2)), (0, (10, 3, 2, 3)))
_MARKERS = "osD^vPX*"
_ARROW = 24  # points
_PER_INCH = 14  # characters of a legend
_STRIPES = 3  # of each colour of a tie
_LESS, _MORE = LIGHT[0], LIGHT[1]


def draw_lines(axes: "Axes", chart: Lines) -> None:
    """Series with the intervals of their points."""
    for slot, (name, spots) in enumerate(chart.series.items()):
        known = [spot for spot in spots if not is_open(spot)]
        below, above = _errors(known)
        colour, marker = LIGHT[slot % len(LIGHT)], _MARKERS[slot % len(_MARKERS)]
        axes.errorbar(
            [spot[0] for spot in known],
            [spot[1] for spot in known],
            yerr=[below, above],
            label=name or chart.title,
            color=colour,
            linestyle=_DASHES[slot % len(_DASHES)],
            marker=marker,
            capsize=3,
        )
        for spot in filter(is_open, spots):
            _draw_open(axes, spot, colour, marker)
    spots = [spot for listed in chart.series.values() for spot in listed]
    _scale_x(axes, sorted({spot[0] for spot in spots}))
    if chart.log_y:
        _scale_y(axes, [spot[1] for spot in spots])
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
    _frame(axes, chart)


def _draw_open(axes: "Axes", spot: Spot, colour: str, marker: str) -> None:
    """A point with an arrow to where its interval has no end."""
    x, y, _, high = spot
    axes.plot([x], [y], color=colour, marker=marker)
    axes.annotate(
        "",
        (x, y),
        (0, _ARROW if high is None else -_ARROW),
        textcoords="offset points",
        arrowprops={"arrowstyle": "<-", "color": colour},
    )


def _frame(axes: "Axes", chart: Lines | Rows) -> None:
    axes.set_title(chart.title, fontsize=9)
    axes.grid(alpha=0.3)
    if chart.series:
        axes.legend(fontsize=7)


def _scale_x(axes: "Axes", xs: Sequence[float]) -> None:
    if xs and xs[0] > 0:
        axes.set_xscale("log", base=2)
        axes.set_xticks(xs, [format_size(round(x)) for x in xs])
        axes.minorticks_off()


def _scale_y(axes: "Axes", ys: Sequence[float]) -> None:
    if ys and max(ys) > WIDE * min(ys):
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))


def _plain_ticks(axis: "Axis", digits: Sequence[float]) -> None:
    """Plain numbers that begin with these digits, in place of powers of ten."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def draw_rows(axes: "Axes", chart: Rows, slots: Slots) -> None:
    """Numbers in named rows, with their intervals; the series of a row lie a little apart.

    Series in `slots` have those colours.
    """
    count = max(1, len(chart.series))
    for at, (name, spots) in enumerate(chart.series.items()):
        slot = slots.get(name, at)
        axes.errorbar(
            [spot[1] for spot in spots],
            [spot[0] + 0.5 * ((at + 0.5) / count - 0.5) for spot in spots],
            xerr=_errors(spots),
            label=name,
            color=LIGHT[slot % len(LIGHT)],
            linestyle="none",
            marker=_MARKERS[slot % len(_MARKERS)],
            markersize=5,
            capsize=2,
        )
    axes.set_yticks(range(len(chart.rows)), chart.rows, fontsize=8)
    axes.set(xlabel=chart.x_label, ylim=(len(chart.rows) - 0.5, -0.5))
    if is_wide(chart):
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis, (1.0, 3.0))
    _frame(axes, chart)


def _errors(spots: Sequence[Spot | RowSpot]) -> tuple[list[float], list[float]]:
    """How far the interval reaches below and above each y; 0 without one."""
    below = [max(0.0, y - low) if low is not None else 0.0 for _, y, low, _ in spots]
    above = [max(0.0, high - y) if high is not None else 0.0 for _, y, _, high in spots]
    return below, above


def draw_heat(axes: "Axes", chart: HeatMap, width: float) -> None:
    """The map as on a page, `width` inches wide, with a scale if its colours are numbers."""
    for y, (_, row) in enumerate(chart.rows):
        for x, cell in enumerate(row):
            if cell is not None:
                _draw_cell(axes, cell, x, y)
    axes.set(xlim=(-0.5, len(chart.columns) - 0.5), ylim=(len(chart.rows) - 0.5, -0.5))
    axes.set_xticks(range(len(chart.columns)), chart.columns)
    axes.set_yticks(range(len(chart.rows)), [name for name, _ in chart.rows])
    axes.set(xlabel=chart.column_name, ylabel=chart.row_name)
    legend = fill(chart.legend, round(_PER_INCH * width))
    axes.set_title(f"{chart.title}\n{legend}", fontsize=8)
    if any(cell and cell.style in ("more", "less") for _, row in chart.rows for cell in row):
        _scale(axes)


def _draw_cell(axes: "Axes", cell: HeatCell, x: int, y: int) -> None:
    from matplotlib.patches import Rectangle

    hatch = "////" if cell.style == "doubt" else None
    for left, part, colour in _stripes(cell):
        axes.add_patch(Rectangle((x - 0.5 + left, y - 0.5), part, 1, fc=colour))
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, ec="#d0d3d7", hatch=hatch))
    axes.text(
        x,
        y,
        "\n".join(cell.lines),
        bbox={"facecolor": PANEL["light"], "edgecolor": "none", "pad": 1} if hatch else None,
        ha="center",
        va="center",
        fontsize=7,
        color=INK["light"],
    )


def _stripes(cell: HeatCell) -> list[tuple[float, float, str]]:
    """The left end, the width and the colour of each stripe of a cell; one without a tie."""
    slots = list(cell.slots) * _STRIPES
    if not slots:
        return [(0.0, 1.0, _fill(cell))]
    width = 1 / len(slots)
    return [(at * width, width, _mixed(LIGHT[slot], TIE)) for at, slot in enumerate(slots)]


def _fill(cell: HeatCell) -> str:
    own = {"more": _MORE, "less": _LESS, "plain": "#dfe2e6"}.get(cell.style)
    if cell.style.startswith("slot"):
        own = LIGHT[int(cell.style.split()[0].removeprefix("slot"))]
    return _mixed(own, cell.part) if own else PANEL["light"]


def _mixed(colour: str, part: float) -> str:
    """A colour on white, as the style sheet mixes it; `part` in percent."""
    levels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (level - 255) * part / 100):02x}" for level in levels)


def _scale(axes: "Axes") -> None:
    """The bar of colours of changes."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    weakest, strongest = TINTS
    ends = [(_LESS, strongest), (_LESS, weakest), (_MORE, weakest), (_MORE, strongest)]
    colours = [_mixed(colour, part) for colour, part in ends]
    steps = list(zip((0.0, 0.5, 0.5, 1.0), colours, strict=True))
    scale = ScalarMappable(
        Normalize(-STRONGEST, STRONGEST), LinearSegmentedColormap.from_list("changes", steps)
    )
    axes.figure.colorbar(scale, ax=axes, label="%", extend="both", shrink=0.8)
