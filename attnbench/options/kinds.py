"""Kinds of values that options take: how a text is read, and how a value is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from attnbench.specs.case import Value

Note = Callable[[str], None]  # shows a remark


@dataclass(frozen=True, slots=True)
class OptionKind:
    """What a value is; the command line reads it."""

    def word(self, value: object) -> str:
        """The word of a command line that asks for `value`."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Text(OptionKind):
    """Any text."""


@dataclass(frozen=True, slots=True)
class Whole(OptionKind):
    """A whole number from `least`."""

    least: int = 1


@dataclass(frozen=True, slots=True)
class Number(OptionKind):
    """A number; `check` raises UsageError for one that is not accepted, else over 0 are."""

    check: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Choice(OptionKind):
    """One of a closed set: by word the value that it stands for, then other spellings of words."""

    values: Mapping[str, Value]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def read(self, text: str) -> Value | None:
        """The value of a word or another spelling of it; None for any other text."""
        return self.values.get(self.aliases.get(text, text))

    def word(self, value: object) -> str:
        """The word for `value`."""
        return next(word for word, each in self.values.items() if each == value)


def one_of(*values: Value, aliases: Mapping[str, str] | None = None) -> Choice:
    """The choice among values that are called what they are."""
    return Choice({str(value): value for value in values}, aliases or {})


@dataclass(frozen=True, slots=True)
class Parsed(OptionKind):
    """What `parse` makes of a text; it raises UsageError for what it does not accept."""

    parse: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Listed(OptionKind):
    """What `parse` makes of all texts together, such as sweeps; its remarks go to the note."""

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
    """Where a file goes."""


@dataclass(frozen=True, slots=True)
class OpenFile(OptionKind):
    """A text file that is opened when it is first written to; atomic ones appear when closed."""

    atomic: bool = False
