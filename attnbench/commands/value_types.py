"""Click's types of the kinds of option values."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import click
from click.types import FloatParamType, IntParamType, StringParamType

from attnbench.commands.output_file import is_database
from attnbench.errors import UsageError
from attnbench.options.kinds import (
    Choice,
    FilePath,
    Folder,
    Number,
    OpenFile,
    OptionKind,
    Text,
    Whole,
)
from attnbench.shorten import shorten

_DIGITS = 19  # of the largest limit


class _ChoiceType(click.Choice[str]):
    """The words of a choice and their other spellings, each read as its value."""

    def __init__(self, kind: Choice) -> None:
        super().__init__(list(kind.values))
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = self._kind.read(value)
        if found is None:
            other = [each for each in self._kind.aliases if each.lower() not in self._kind.values]
            known = ", ".join([*self._kind.values, *other])
            self.fail(f"'{shorten(str(value), 40)}' is not one of {known}", param, ctx)
        return found


class _WholeType(IntParamType):
    """A whole number within a kind's limits, in the digits 0 to 9."""

    def __init__(self, kind: Whole) -> None:
        self._least, self._most = kind.least, kind.most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number, shown = _whole(str(value)), shorten(str(value), 40)
        if number is not None and number > self._most:
            self.fail(f"'{shown}' is over {self._most}, the largest accepted", param, ctx)
        if number is None or number < self._least:
            example = self._least + 15
            self.fail(
                f"'{shown}' is not a whole number of at least {self._least}, e.g. {example}",
                param,
                ctx,
            )
        return number


class _NumberType(FloatParamType):
    """A finite number, above 0 unless the kind has its own check."""

    def __init__(self, kind: Number) -> None:
        self._checked = kind.check is not None

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        shown = shorten(str(value), 40)
        try:
            number = float(value) if shown.isascii() else nan
        except ValueError:
            number = nan
        if isnan(number) or not (self._checked or 0 < number < inf):
            self.fail(f"'{shown}' is not a finite number above 0, e.g. 30", param, ctx)
        return number


class _TextType(StringParamType):
    """Any text but none, which is what an unset variable of a shell leaves."""

    def __init__(self, _: Text) -> None:
        super().__init__()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail(
                "the value is empty, perhaps from an unset shell variable; give one", param, ctx
            )
        return super().convert(value, param, ctx)


class OutputFile(click.File):
    """A text file opened on its first write, in a folder that exists; - is standard output."""

    def __init__(self) -> None:
        super().__init__("w", encoding="utf-8", errors="backslashreplace", lazy=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value != "-":
            try:
                writable(Path(value))
            except UsageError as error:
                self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


def _whole(text: str) -> int | None:
    """The number, infinity's stand-in if it has more digits than any limit; None for other text."""
    if not re.fullmatch("-?[0-9]+", text):
        return None
    return int(text) if len(text) <= _DIGITS else sys.maxsize * (-1 if text[0] == "-" else 1)


def whole_type() -> IntParamType:
    """Click's type of an argument, such as a run's number: a whole number from 1."""
    return _WholeType(Whole(most=2**31 - 1))


def click_type(kind: OptionKind) -> Any:
    """Click's type for a kind of value."""
    return _TYPES[type(kind)](kind) if type(kind) in _TYPES else str


_TYPES: Mapping[type[OptionKind], Callable[[Any], Any]] = {
    Choice: _ChoiceType,
    Text: _TextType,
    Whole: _WholeType,
    Number: _NumberType,
    Folder: lambda _: click.Path(path_type=Path, exists=True, file_okay=False),
    FilePath: lambda _: click.Path(path_type=Path, dir_okay=False),
    OpenFile: lambda _: OutputFile(),
}


def writable(path: Path, example: str = "results.csv") -> Path:
    """The path of a file that can be written, as it seems now; nothing is created."""
    if str(path) == "-":
        raise UsageError(f"standard output has the table; name a file, e.g. {example}")
    folder = path.parent
    try:
        is_there = path.exists()
    except (OSError, ValueError) as error:  # such as a name that is too long
        raise UsageError(f"{path}: {error}; name another file") from None
    if not folder.is_dir():
        raise UsageError(f"{folder} does not exist; create it first: mkdir -p {folder}")
    if path.is_dir() or not os.access(path if is_there else folder, os.W_OK):
        raise UsageError(f"{path} cannot be written; name another file, e.g. {example}")
    if is_database(path):
        raise UsageError(f"{path} is a database; name another file, e.g. {example}")
    return path


def may_be_made(folder: Path) -> Path:
    """A folder that exists or can be created, as it seems now; nothing is created."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if there.is_dir() and os.access(there, os.W_OK):
        return folder
    raise UsageError(f"{there} cannot be written; name another folder, e.g. plots")
