"""A scanner of sizes and keywords, whose errors point a caret at the character."""

import re
from typing import NoReturn

from attnbench.errors import UsageError

MAX_SIZE = 1024**3  # far past any real length; keeps every product of two in 64 bits

# Without ASCII, IGNORECASE lets the Kelvin sign match k.
_FLAGS = re.ASCII | re.IGNORECASE
_FACTORS = {"": 1, "k": 1024, "m": 1024**2}
_LINE_WIDTH = 90  # columns of the spec that an error shows around its caret
_QUOTE_WIDTH = 40


class BatchSpecError(UsageError, ValueError):
    """A batch spec or sweep that cannot be read, or lengths that do not make a batch."""


def caret_error(
    text: str, position: int, problem: str, accepted: str, part: str | None = None
) -> BatchSpecError:
    """The error for `part` of `text`, with the caret under `position`.

    A position of len(text) means that something is missing at the end.
    """
    where = "" if part in (None, text) else f" in {quoted(text)}"
    what = quoted(text if part is None else part)
    return BatchSpecError(
        f"cannot read {what}{where}: {problem}\n{_picture(text, position)}\naccepted: {accepted}"
    )


def quoted(text: str) -> str:
    """The text in quotes, on one line, cut to fit a message."""
    shown = _printable(text)
    return f"'{shown}'" if len(shown) <= _QUOTE_WIDTH else f"'{shown[: _QUOTE_WIDTH - 3]}...'"


class Scanner:
    """Reads `text` from `start` to `end`; keywords and size suffixes in either case."""

    def __init__(self, text: str, start: int, end: int, accepted: str) -> None:
        self.text = text
        self.start = self.position = start
        self.end = end
        self.accepted = accepted
        self._last = ""

    def accept(self, pattern: str) -> str:
        """Step past a match of the pattern and return it in lower case; '' if there is none."""
        found = re.compile(pattern, _FLAGS).match(self.text, self.position, self.end)
        if not found or not found[0]:
            return ""
        self.position = found.end()
        self._last = found[0]
        return self._last.lower()

    def size(self) -> int:
        """A whole number from 1 to MAX_SIZE: `512`, `2k` (x 1024), `1m` (x 1024^2), `1.5k`."""
        start = self.position
        after = f" after {quoted(self._last)}" if self._last else ""
        digits = self.accept("[0-9]+") or self.fail(f"a size is missing{after}")
        fraction = ""
        if self.accept(r"\.(?!\.)"):
            fraction = self.accept("[0-9]+") or self.fail("a digit is missing after '.'")
        factor = _FACTORS[self.accept("k(?!v)|m")]  # the k of q2kv4 belongs to kv
        size = _whole_number(digits.lstrip("0"), fraction.rstrip("0"), factor)
        if size is None:
            self.fail("a size that is not whole", start)
        if size > MAX_SIZE:
            self.fail(f"a size over {MAX_SIZE // 1024**2}m", start)
        if size < 1:
            self.fail("a size of 0; the least is 1", start)
        return size

    def finish(self) -> None:
        """Raise BatchSpecError if any text is left."""
        if self.position < self.end:
            character = quoted(self.text[self.position])
            read = quoted(self.text[self.start : self.position])
            left = self.text[self.position : self.end]
            several = left[0] in " ,\n" and left[1:].lstrip()[:1].isalnum()
            hint = "; several specs are separate words" if several else ""
            self.fail(f"unexpected {character} after {read}{hint}")

    def fail(self, problem: str, position: int | None = None) -> NoReturn:
        """Raise BatchSpecError with the caret at `position`, by default here."""
        at = self.position if position is None else position
        character = self.text[at : min(at + 1, self.end)]
        if character.isdigit() and not character.isascii():
            problem += "; only the digits 0 to 9 are read"
        part = self.text[self.start : self.end]
        raise caret_error(self.text, at, problem, self.accepted, part)


def _whole_number(digits: str, fraction: str, factor: int) -> int | None:
    """`digits.fraction` x factor, None if not whole; without leading or trailing zeros.

    Both are bounded before int(), which refuses thousands of digits.
    """
    if len(fraction) > 20:  # the largest factor, 2^20, makes at most 20 decimals whole
        return None
    if len(digits) > len(str(MAX_SIZE)):
        return MAX_SIZE + 1
    scale: int = 10 ** len(fraction)
    size, remainder = divmod(int(digits + fraction or "0") * factor, scale)
    return None if remainder else size


def _picture(text: str, position: int) -> str:
    """The text, cut to a window around `position`, above a caret."""
    line, column = _printable(text), len(_printable(text[:position]))
    start = max(0, min(column - _LINE_WIDTH // 2, len(line) - _LINE_WIDTH))
    before = "..." if start else ""
    after = "..." if len(line) > start + _LINE_WIDTH else ""
    shown = f"{before}{line[start : start + _LINE_WIDTH]}{after}"
    return f"  {shown}\n  {' ' * (len(before) + column - start)}^"


def _printable(text: str) -> str:
    """One column per character in every terminal: anything but printable ASCII is escaped."""
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text)
