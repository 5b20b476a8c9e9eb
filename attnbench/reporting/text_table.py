"""A table of texts as a terminal or Markdown shows it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from textwrap import fill
from typing import Literal

from attnbench.printable import printable
from attnbench.shorten import shorten
from attnbench.units import MISSING

Style = Literal["table", "markdown"]

WIDTH = 80  # columns of a terminal of unknown width
_GAP = "  "
_LEAST = 8  # characters that a shortened text keeps


@dataclass(frozen=True, slots=True)
class Column:
    """A header, one text for each row, and how they are set."""

    header: str  # of several lines where it is longer than what stands below
    texts: Sequence[str]
    left: bool = False  # numbers stand to the right, words to the left
    shrinks: bool = False  # whether its texts may lose their middle
    optional: bool = False  # whether it is left out where the width is short
    spare: bool = False  # whether it is left out before a name is shortened
    is_name: bool = False  # whether its texts are shortened last

    def __post_init__(self) -> None:
        """Make texts from outside safe to show."""
        object.__setattr__(self, "texts", [printable(text) for text in self.texts])

    @property
    def width(self) -> int:
        """Characters of the longest line."""
        return max(len(line) for line in (*self.header.splitlines(), *self.texts))

    @property
    def least(self) -> int:
        """The width that it can be narrowed to, so that no two texts come to look alike."""
        header, texts = max(map(len, self.header.splitlines())), {*self.texts}
        for width in range(max(_LEAST, header), self.width) if self.shrinks else ():
            if len({shorten(text, width) for text in texts}) == len(texts):
                return width
        return self.width

    def narrowed(self, width: int) -> "Column":
        """The same with no text longer than `width`."""
        return replace(self, texts=[shorten(text, width) for text in self.texts])

    def set(self, text: str, width: int) -> str:
        """The text filled up to a width."""
        return text.ljust(width) if self.left else text.rjust(width)


def words(header: str, texts: Sequence[str]) -> Column:
    """A column of words that is shortened where the width is short."""
    return Column(header, texts, left=True, shrinks=True)


def lists(header: str, texts: Sequence[str]) -> Column:
    """A column of lists of names, which are never shortened: one would look like another name."""
    return Column(header, texts, left=True)


def known(
    header: str, texts: Sequence[str], *, optional: bool = False, spare: bool = False
) -> list[Column]:
    """A column of numbers, none where all are missing."""
    return [Column(header, texts, optional=optional, spare=spare)] if {*texts} - {MISSING} else []


def stacked(name: str) -> str:
    """A header with its last word below the others, so that it is not wider than its values."""
    return "\n".join(name.replace("_", " ").rsplit(" ", 1))


def text_table(columns: Sequence[Column], style: Style = "table", width: int = WIDTH) -> str:
    """The columns, all of one length, side by side.

    Where a terminal is narrow, optional columns are left out, the last one first; where that is
    not enough, texts are shortened in their middle, and names only once the spare columns are gone.
    """
    if style == "markdown":
        return _markdown(columns)
    columns = _fitted(_without_spare(_without_optional(columns, width), width), width)
    widths = [column.width for column in columns]
    lines = [*_header_lines(columns), ["-" * w for w in widths], *_rows(columns)]
    return "\n".join(_GAP.join(map(Column.set, columns, line, widths)).rstrip() for line in lines)


def items(lines: Sequence[str], style: Style = "table", width: int = WIDTH) -> str:
    """One item a line, wrapped for a terminal, or Markdown's list."""
    if style == "markdown":
        return "\n".join(f"- {line}" for line in lines)
    return "\n".join(wrapped(line, width, "  ") for line in lines)


def heading(lines: Sequence[str], style: Style = "table", width: int = WIDTH) -> str:
    """What stands above a table: lines, of which Markdown shows the first in bold."""
    if style == "markdown":
        return "\n\n".join([f"**{lines[0]}**", *lines[1:]])
    return "\n".join(wrapped(line, width) for line in lines)


def wrapped(text: str, width: int = WIDTH, indent: str = "") -> str:
    """The text broken between words, lines after the first indented; long words stay whole."""
    return fill(
        printable(text, keep="\n"),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _without_optional(columns: Sequence[Column], width: int) -> list[Column]:
    """Without the last optional columns, as many as have to go."""
    kept = list(columns)
    for column in reversed(columns):
        if sum(each.width for each in kept) <= _room(kept, width):
            break
        if column.optional:
            kept.remove(column)
    return kept


def _without_spare(columns: Sequence[Column], width: int) -> list[Column]:
    """Without the last spare columns, as many as have to go for names to stay whole."""
    kept = list(columns)
    if not any(each.is_name for each in columns):
        return kept
    for column in reversed(columns):
        if sum(each.width if each.is_name else each.least for each in kept) <= _room(kept, width):
            break
        if column.spare:
            kept.remove(column)
    return kept


def _room(columns: Sequence[Column], width: int) -> int:
    """What the gaps between columns leave of a width."""
    return width - len(_GAP) * (len(columns) - 1)


def _fitted(columns: Sequence[Column], width: int) -> list[Column]:
    """The widest columns give way first, names last, until all fit or none can be narrower."""
    widths, least = [c.width for c in columns], [c.least for c in columns]
    while sum(widths) > _room(columns, width):
        spare = [at for at in range(len(columns)) if widths[at] > least[at]]
        if not spare:
            break
        spare = [at for at in spare if not columns[at].is_name] or spare
        widths[max(spare, key=widths.__getitem__)] -= 1
    return [column.narrowed(w) for column, w in zip(columns, widths, strict=True)]


def _header_lines(columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """All headers line by line, the last line of each just above its texts."""
    reversed_lines = (column.header.splitlines()[::-1] for column in columns)
    return list(zip_longest(*reversed_lines, fillvalue=""))[::-1]


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
