"""The colours of series: those of Okabe and Ito, apart for every kind of colour blindness.

A slot also has its own dash and symbol (scripts/plot.js). Yellow comes last: on white it is pale,
and its points have an outline.
"""

from collections.abc import Sequence

Colours = Sequence[str]  # "#rrggbb" by slot

LIGHT: Colours = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#3d3d3d", "#f0e442",
)  # fmt: skip
DARK: Colours = (
    "#1272b1", "#d55e00", "#0e9d74", "#cb7aac", "#eaa315", "#58b3e6", "#b2a49f", "#f2ea59",
)  # fmt: skip
# By theme: the part of a colour in a square of a winner map, by strength of the lead; less on dark
# paper, where light text must stay readable on yellow.
TINTS = {"light": (0.18, 0.3, 0.42, 0.55), "dark": (0.16, 0.23, 0.3, 0.37)}
INK = {"light": "#1c1f23", "dark": "#e8eaed"}
PANEL = {"light": "#ffffff", "dark": "#1b1e23"}


def variables(theme: str, colours: Colours) -> str:
    """The colours and tints as variables of a style sheet."""
    slots = [f"--s{slot}: {colour};" for slot, colour in enumerate(colours)]
    tints = [f"--tint{at}: {100 * part:g}%;" for at, part in enumerate(TINTS[theme])]
    return " ".join([*slots, *tints])


def classes() -> str:
    """The rules that give a slot its colour and a strength its tint."""
    slots = [f".slot{slot} {{ --own: var(--s{slot}); }}" for slot in range(len(LIGHT))]
    tints = [f".strength{at} {{ --part: var(--tint{at}); }}" for at in range(len(TINTS["light"]))]
    return "\n".join([*slots, *tints])
