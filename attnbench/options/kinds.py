"""Kinds of option values: how a text is read and a value is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from attnbench.note import Note
from attnbench.specs.case import Value


@dataclass(frozen=True, slots=True)
class OptionKind:
    """A kind of value, read by the command line."""

    def word(self, value: object) -> str:
        """The command-line word for `value`."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Text(OptionKind):
    """Any text."""


@dataclass(frozen=True, slots=True)
class Whole(OptionKind):
    """A whole number from `least` to `most`."""

    least: int = 1
    most: int = 2**30  # far past any use; keeps products of two in 64 bits


@dataclass(frozen=True, slots=True)
class Number(OptionKind):
    """A number above 0, or one for which `check` does not raise UsageError."""

    check: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Choice(OptionKind):
    """One of a closed set: values by word, then other spellings of words."""

    values: Mapping[str, Value]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def read(self, text: str) -> Value | None:
        """The value of a word or another spelling of it; None for any other text."""
        return self.values.get(self.aliases.get(text, text))

    def word(self, value: object) -> str:
        """The word for `value`."""
        return next(word for word, each in self.values.items() if each == value)


def one_of(*values: Value, aliases: Mapping[str, str] | None = None) -> Choice:
    """The choice among values that are their own words."""
    return Choice({str(value): value for value in values}, aliases or {})


@dataclass(frozen=True, slots=True)
class Parsed(OptionKind):
    """A value from `parse`, which raises UsageError for a text it does not accept."""

    parse: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Listed(OptionKind):
    """Values that `parse` makes of all texts together, such as sweeps; remarks go to the note."""

    parse: Callable[[Sequence[str], Note], Sequence[object]]
    write: Callable[[object], str] = str

    def word(self, value: object) -> str:
        """The word for one of the values."""
        return self.write(value)


@dataclass(frozen=True, slots=True)
class Folder(OptionKind):
    """A folder that exists."""


@dataclass(frozen=True, slots=True)
class FilePath(OptionKind):
    """The path of a file to write."""


@dataclass(frozen=True, slots=True)
class OpenFile(OptionKind):
    """A text file opened on its first write."""
