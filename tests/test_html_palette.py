"""The colours of pages: apart for everyone, and texts on them readable."""

from itertools import combinations

import pytest

from attnbench.reporting.html.page import style
from attnbench.reporting.html.palette import DARK, INK, LIGHT, PANEL, TINTS
from tests.ciede import SIGHT, contrast, difference, seen

THEMES = pytest.mark.parametrize(
    ("theme", "colours"), [("light", LIGHT), ("dark", DARK)], ids=["light", "dark"]
)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((90.8027, -2.0831, 1.441), (91.1528, -1.6435, 0.0447), 1.4441),
    ],
)
def test_the_difference_is_that_of_the_published_pairs(
    one: tuple[float, float, float], other: tuple[float, float, float], expected: float
) -> None:
    assert difference(one, other) == pytest.approx(expected, abs=1e-4)


@THEMES
@pytest.mark.parametrize("sight", SIGHT)
def test_every_two_colours_are_apart(theme: str, colours: tuple[str, ...], sight: str) -> None:
    listed = [seen(colour, sight) for colour in colours]
    assert min(difference(*pair) for pair in combinations(listed, 2)) >= 10


@THEMES
def test_text_on_the_strongest_square_can_be_read(theme: str, colours: tuple[str, ...]) -> None:
    mixed = [_mix(colour, PANEL[theme], max(TINTS[theme])) for colour in colours]
    assert min(contrast(INK[theme], square) for square in mixed) >= 4.5


def test_the_style_sheet_has_these_colours() -> None:
    text = style()
    assert f"--s0: {LIGHT[0]};" in text
    assert f"--s7: {DARK[7]};" in text
    assert all(f"--ink: {ink}" in text for ink in INK.values())
    assert all(f"--panel: {panel}" in text for panel in PANEL.values())


def _mix(colour: str, paper: str, part: float) -> str:
    """The style sheet's color-mix in srgb."""
    pairs = [(int(colour[at : at + 2], 16), int(paper[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(part * a + (1 - part) * b):02x}" for a, b in pairs)
