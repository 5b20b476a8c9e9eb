"""Commands whose options are dataclass fields: Click reads them, the values arrive typed."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from inspect import cleandoc
from typing import Any, TypeVar, get_args

import click
from click.core import ParameterSource

from attnbench.commands.completion import COMPLETERS
from attnbench.commands.note import note
from attnbench.commands.value_types import click_type, writable
from attnbench.commands.variadic import VariadicCommand
from attnbench.errors import UsageError
from attnbench.options.kinds import (
    FilePath,
    Listed,
    Number,
    OptionKind,
    Parsed,
)
from attnbench.options.option import Heading, NamedOption, Option, table

T = TypeVar("T")
Reader = Callable[[click.Context, click.Parameter, Any], Any]


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
        """Say where an unknown option, or a word too many, may belong."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if ctx.allow_interspersed_args or error.possibilities:
                raise
            raise click.UsageError(
                f"{error.format_message()} Options of the measuring command follow it, e.g. "
                f"{ctx.command_path} -- attn --rounds 5",
                ctx,
            ) from None
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            more = "options shown with ... in --help take several values, others one"
            if any("--batch-specs" in each.opts for each in self.params):
                more += "; batches follow --batch-specs, e.g. --batch-specs q2k 8q1kv1k"
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
        "type": None if option.flag else click_type(option.kind),
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


_HEADINGS: tuple[str, ...] = get_args(Heading)


def _heading(parameter: click.Parameter) -> str:
    return parameter.heading if isinstance(parameter, TableOption) else "Options"
