"""Commands whose options are dataclass fields: Click reads them, the values arrive typed."""

import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from inspect import cleandoc
from math import inf, isnan, nan
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from click.core import ParameterSource
from click.types import FloatParamType, IntParamType

from attnbench.commands.completion import COMPLETERS
from attnbench.commands.variadic import VariadicCommand
from attnbench.errors import UsageError
from attnbench.options.kinds import (
    Choice,
    FilePath,
    Folder,
    Listed,
    Number,
    OpenFile,
    OptionKind,
    Parsed,
    Whole,
)
from attnbench.options.option import Heading, NamedOption, Option, table

T = TypeVar("T")
Reader = Callable[[click.Context, click.Parameter, Any], Any]


def note(text: str) -> None:
    """Print a remark on stderr, above a progress bar; it does not affect the result."""
    from tqdm import tqdm  # where it is used: it takes 20 ms

    tqdm.write(f"note: {text}", file=sys.stderr)


def table_command(
    name: str,
    *tables: type[Any],
    help: str,
    run: Callable[..., None],
    params: Sequence[click.Parameter] = (),
    **settings: Any,
) -> click.Command:
    """A command that calls `run` with an instance of each table, then the values of `params`."""

    def callback(**given: Any) -> None:
        run(*(read(each, given) for each in tables), *(given[each.name or ""] for each in params))

    listed = [*options_of(*tables), *params]
    return GroupedCommand(name, params=listed, callback=callback, help=cleandoc(help), **settings)


def options_of(*tables: type[Any]) -> list[click.Parameter]:
    """The Click parameters of some tables."""
    return [TableOption(*item) for each in tables for item in table(each).items()]


def read(options: type[T], given: Mapping[str, Any]) -> T:
    """An instance of a table from the values that Click has read."""
    return options(**{name: given[name] for name in table(options)})


def named_options(ctx: click.Context, words: Iterable[str]) -> dict[str, NamedOption]:
    """The options named by the words of a command line, by field."""
    typed = {word.partition("=")[0] for word in words}
    return {
        each.field: NamedOption(each.option, _typed(each.option, typed), ctx.params[each.field])
        for each in ctx.command.params
        if isinstance(each, TableOption)
        and ctx.get_parameter_source(each.field) is ParameterSource.COMMANDLINE
    }


def _typed(option: Option, words: Collection[str]) -> str:
    return next((name for name in option.names if name in words), option.names[0])


class GroupedCommand(VariadicCommand):
    """A command whose help has a section for each heading of its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say to which options a word too many may belong."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            more = "options shown with ... in --help take several values, others one"
            raise click.UsageError(f"{error.message}; {more}", ctx) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections that have options."""
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in _HEADINGS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections[_heading(parameter)].append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class TableOption(click.Option):
    """An option of a table, under its heading."""

    def __init__(self, field: str, option: Option) -> None:
        self.field, self.option, self.heading = field, option, option.heading
        complete = COMPLETERS.get(field)
        super().__init__([field, *option.names], **settings(option), shell_complete=complete)


def settings(option: Option) -> dict[str, Any]:
    """Click's settings for an option."""
    given = {"flag_value": option.bare, "default": None if option.required else option.default}
    return {
        "type": None if option.flag else _click_type(option.kind),
        "callback": _reader(option.kind),
        "multiple": option.several,
        # Click reads False as: the value may be left out.
        "is_flag": option.flag or (False if option.bare else None),
        "required": option.required,
        "show_default": option.show_default,
        "envvar": option.variable,
        "metavar": option.metavar,
        "help": option.help or None,
        **{name: value for name, value in given.items() if value is not None},
    }


class _ChoiceType(click.Choice[str]):
    """The words of a choice and their other spellings, each read as its value."""

    def __init__(self, kind: Choice) -> None:
        super().__init__(list(kind.values))
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = self._kind.read(value)
        if found is None:
            known = ", ".join([*self._kind.values, *self._kind.aliases])
            self.fail(f"'{value}' is not one of {known}", param, ctx)
        return found


class _WholeType(IntParamType):
    """A whole number within a kind's limits, in the digits 0 to 9."""

    def __init__(self, kind: Whole) -> None:
        self._least, self._most = kind.least, kind.most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = _whole(str(value))
        if number is not None and number > self._most:
            self.fail(f"'{value}' is over {self._most}, the largest accepted", param, ctx)
        if number is None or number < self._least:
            example = self._least + 15
            self.fail(
                f"'{value}' is not a whole number of at least {self._least}, e.g. {example}",
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
        try:
            number = float(value) if str(value).isascii() else nan
        except ValueError:
            number = nan
        if isnan(number) or not (self._checked or 0 < number < inf):
            self.fail(f"'{value}' is not a finite number above 0, e.g. 30", param, ctx)
        return number


class OutputFile(click.File):
    """A text file opened on its first write, in a folder that exists; - is standard output."""

    def __init__(self) -> None:
        super().__init__("w", encoding="utf-8", lazy=True)

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


def whole_type(least: int = 1, most: int = 2**31 - 1) -> IntParamType:
    """Click's type of an argument, such as a run's number."""
    return _WholeType(Whole(least, most))


def _click_type(kind: OptionKind) -> Any:
    return _TYPES[type(kind)](kind) if type(kind) in _TYPES else str


_TYPES: Mapping[type[OptionKind], Callable[[Any], Any]] = {
    Choice: _ChoiceType,
    Whole: _WholeType,
    Number: _NumberType,
    Folder: lambda _: click.Path(path_type=Path, exists=True, file_okay=False),
    FilePath: lambda _: click.Path(path_type=Path, dir_okay=False),
    OpenFile: lambda _: OutputFile(),
}


def _reader(kind: OptionKind) -> Reader | None:
    """The callback that makes the value of a kind, if Click alone does not."""
    match kind:
        case FilePath():
            return parsed(writable)
        case Parsed(parse=parse) | Number(check=Callable() as parse):
            return parsed(parse)
        case Listed(parse=parse):
            return parsed(lambda texts: tuple(parse(texts, note)))
        case _:
            return None


def parsed(parse: Callable[[Any], Any]) -> Reader:
    """A callback that turns our errors into Click's, which name the option."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is None or value == ():
            return value
        try:
            return parse(value)
        except UsageError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from None

    return callback


def writable(path: Path) -> Path:
    """The path of a file that can be written, as it seems now; nothing is created."""
    if str(path) == "-":
        raise UsageError(
            "standard output has the table; name a file, or see attnbench report --format csv"
        )
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"{folder} does not exist; create it first: mkdir -p {folder}")
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"{path} cannot be written; name another file, e.g. results.csv")
    return path


_DIGITS = 19  # of the largest limit
_HEADINGS: tuple[str, ...] = get_args(Heading)


def _heading(parameter: click.Parameter) -> str:
    return parameter.heading if isinstance(parameter, TableOption) else "Options"
