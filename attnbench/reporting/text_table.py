"""Tables of texts for a terminal or Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from textwrap import fill
from typing import Literal

from attnbench.printable import printable
from attnbench.reporting.colours import coloured
from attnbench.shorten import shorten
from attnbench.units import MISSING

Style = Literal["table", "colour", "markdown"]  # colour: a table for a terminal with colours

WIDTH = 80  # columns of a terminal of unknown width
UNLIMITED = 1_000_000  # of a pipe or a file: nothing is left out, shortened or wrapped
GAP = "  "
_LEAST = 8  # characters kept of a shortened text


@dataclass(frozen=True, slots=True)
class Column:
    """A header, one text per row, and their layout."""

    header: str  # may have several lines
    texts: Sequence[str]
    left: bool = False  # words are aligned left, numbers right
    shrinks: bool = False  # whether its texts may be shortened
    optional: bool = False  # whether it is left out on a narrow terminal
    spare: bool = False  # whether it is left out too, if that is not enough
    looks: Sequence[str] = ()  # the place or verdict that colours each text

    def __post_init__(self) -> None:
        """Make texts from outside safe to show."""
        object.__setattr__(self, "texts", [printable(text) for text in self.texts])

    @property
    def width(self) -> int:
        """Characters of the longest line."""
        return max(len(line) for line in (*self.header.splitlines(), *self.texts))

    @property
    def least(self) -> int:
        """The smallest width at which no two texts look alike."""
        header, texts = max(map(len, self.header.splitlines())), {*self.texts}
        for width in range(max(_LEAST, header), self.width) if self.shrinks else ():
            if len({shorten(text, width) for text in texts}) == len(texts):
                return width
        return self.width

    def narrowed(self, width: int) -> "Column":
        """The column with no text longer than `width`."""
        return replace(self, texts=[shorten(text, width) for text in self.texts])

    def set(self, text: str, width: int, look: str = "") -> str:
        """The text padded to a width, in the colour of `look`."""
        gap = " " * (width - len(text))
        return coloured(text, look) + gap if self.left else gap + coloured(text, look)


def words(header: str, texts: Sequence[str]) -> Column:
    """A column of words, shortened on a narrow terminal."""
    return Column(header, texts, left=True, shrinks=True)


def names(header: str, texts: Sequence[str], look: str = "", *, spare: bool = False) -> Column:
    """A column of names, never shortened: a shortened name may look like another."""
    return Column(header, texts, left=True, spare=spare, looks=[look] * len(texts))


def with_looks(columns: Iterable[Column], looks: Sequence[str]) -> list[Column]:
    """The columns with each row in the colour of its look."""
    return [replace(column, looks=looks) for column in columns]


def known(
    header: str, texts: Sequence[str], *, optional: bool = False, spare: bool = False
) -> list[Column]:
    """A column of numbers; none if all are missing."""
    return [Column(header, texts, optional=optional, spare=spare)] if {*texts} - {MISSING} else []


def stacked(name: str) -> str:
    """A header with its last word below the others, to match narrow values."""
    return "\n".join(name.replace("_", " ").rsplit(" ", 1))


def text_table(columns: Sequence[Column], style: Style = "table", width: int = WIDTH) -> str:
    """The columns, of equal length, side by side.

    On a narrow terminal optional columns are left out, the last one first, then spare ones, and
    named below; if that is not enough, words are shortened in the middle, names never.
    """
    if style == "markdown":
        return _markdown(columns)
    kept = _without_spare(_without_optional(columns, width), width)
    left_out = [" ".join(each.header.split()) for each in columns if each not in kept]
    columns = _fitted(kept, width)
    widths = [column.width for column in columns]
    lines = [*_header_lines(columns), ["-" * w for w in widths]]
    rows = [GAP.join(map(Column.set, columns, line, widths)).rstrip() for line in lines]
    rows += _body(columns, widths, is_coloured=style == "colour")
    if left_out:
        rows.append(wrapped(f"a wider terminal also shows: {', '.join(left_out)}", width, "  "))
    return "\n".join(rows)


def folded_table(
    of_rows: Sequence[Column], of_values: Sequence[Column], style: Style, width: int
) -> str:
    """A table, or on a narrow terminal several, each with the columns that name its rows."""
    room = width - sum(each.width for each in of_rows)
    parts, left = [list[Column]()], room
    for column in of_values:
        left -= len(GAP) + column.width
        if left < 0 and parts[-1] and style != "markdown":
            parts.append([])
            left = room - len(GAP) - column.width
        parts[-1].append(column)
    return "\n\n".join(text_table([*of_rows, *part], style, width) for part in parts)


def items(lines: Sequence[str], style: Style = "table", width: int = WIDTH) -> str:
    """One item per line, wrapped for a terminal, or a Markdown list."""
    if style == "markdown":
        return "\n".join(f"- {line}" for line in lines)
    return "\n".join(wrapped(line, width, "  ") for line in lines)


def heading(lines: Sequence[str], style: Style, width: int) -> str:
    """The lines above a table; Markdown shows the first in bold."""
    if style == "markdown":
        first, *others = map(printable, lines)
        return "\n\n".join([f"**{first}**", *others])
    return "\n".join(wrapped(line, width) for line in lines)


def wrapped(text: str, width: int, indent: str = "") -> str:
    """The text wrapped between words, later lines indented; long words are not broken.

    A number and its % stay on one line.
    """
    lines = fill(
        printable(text, keep="\n").replace(" %", "\0%"),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace("\0", " ")


def _without_optional(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns without as many of the last optional ones as necessary."""
    kept = list(columns)
    for column in reversed(columns):
        if sum(each.width for each in kept) <= _room(kept, width):
            break
        if column.optional:
            kept.remove(column)
    return kept


def _without_spare(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns without the last spare ones, as far as they do not fit beside the others."""
    kept = list(columns)
    for column in reversed(columns):
        if _fits(kept, width):
            break
        if column.spare:
            kept.remove(column)
    for column in columns:
        again = [each for each in columns if each in kept or each is column]
        if column.spare and column not in kept and _fits(again, width):
            kept = again
    return kept


def _fits(columns: Sequence[Column], width: int) -> bool:
    return sum(each.least for each in columns) <= _room(columns, width)


def _room(columns: Sequence[Column], width: int) -> int:
    """The width without the gaps between columns."""
    return width - len(GAP) * (len(columns) - 1)


def _fitted(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns narrowed, widest first, until all fit or none can be narrower."""
    widths, least = [c.width for c in columns], [c.least for c in columns]
    while sum(widths) > _room(columns, width):
        spare = [at for at in range(len(columns)) if widths[at] > least[at]]
        if not spare:
            break
        widths[max(spare, key=widths.__getitem__)] -= 1
    return [column.narrowed(w) for column, w in zip(columns, widths, strict=True)]


def _header_lines(columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """All headers line by line, with the last line of each above its texts."""
    reversed_lines = (column.header.splitlines()[::-1] for column in columns)
    return list(zip_longest(*reversed_lines, fillvalue=""))[::-1]


def _body(columns: Sequence[Column], widths: Sequence[int], *, is_coloured: bool) -> list[str]:
    plain = [""] * len(columns[0].texts)
    looks = [each.looks if is_coloured and each.looks else plain for each in columns]
    return [
        GAP.join(map(Column.set, columns, texts, widths, shown)).rstrip()
        for texts, shown in zip(_rows(columns), zip(*looks, strict=True), strict=True)
    ]


def _rows(columns: Sequence[Column]) -> Iterable[tuple[str, ...]]:
    return zip(*(column.texts for column in columns), strict=True)


def _markdown(columns: Sequence[Column]) -> str:
    from tabulate import tabulate

    return tabulate(
        [[_escaped(text) for text in row] for row in _rows(columns)],
        [column.header.replace("\n", " ") for column in columns],
        tablefmt="pipe",
        colalign=["left" if column.left else "right" for column in columns],
        disable_numparse=True,
    )


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")
