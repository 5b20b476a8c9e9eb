"""The command group: commands load when called, and errors become messages here."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from attnbench._version import __version__
from attnbench.bytecode import keep_bytecode
from attnbench.commands import COMMANDS
from attnbench.commands.completion import DB
from attnbench.commands.interrupts import end_as_ctrl_c_does
from attnbench.commands.streams import escape_what_has_no_encoding, open_closed_streams
from attnbench.errors import INTERNAL, INTERRUPTED, AttnbenchError, UsageError
from attnbench.families import FAMILIES
from attnbench.garbage import look_seldom
from attnbench.leading_db import split_db
from attnbench.printable import printable


class LazyGroup(click.Group):
    """Imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in FAMILIES:
            from attnbench.commands.family import family_command

            return family_command(FAMILIES[cmd_name])
        module = import_module(f"attnbench.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command if there is none of that name."""
        near = get_close_matches(args[0], COMMANDS, n=1)
        is_typed = not (ctx.resilient_parsing or args[0].startswith("-"))
        if args[0] not in COMMANDS and near and is_typed:
            ctx.fail(f"No such command '{args[0]}'. Did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `--db FILE COMMAND ...` as `COMMAND ... --db FILE`."""
        db, args = split_db(args)
        if db and ctx.resilient_parsing:  # a shell completes, by the order of the words
            ctx.meta[DB], db = db[-1].removeprefix("--db="), []
        with printable_errors():
            if db and not args:
                ctx.fail("--db FILE stands before a command, e.g. attnbench --db h200.db report")
            is_command = bool(args) and not args[0].startswith("-")
            return super().parse_args(ctx, [*args, *db] if is_command else args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete files after `--db`, else options and commands."""
        if ctx.meta.get(DB) == "--db":
            return [CompletionItem(incomplete, type="file")]
        return super().shell_complete(ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error that a user can fix becomes one message and an exit status."""
        try:
            with printable_errors():
                require_working_directory()
                return super().invoke(ctx)
        except AttnbenchError as error:
            click.echo(f"Error: {printable(str(error), keep=chr(10))}", err=True)
            ctx.exit(error.exit_status)
        except OSError as error:
            if error.errno not in (ENOSPC, EDQUOT, EFBIG, EIO):
                raise
            discard_output()
            click.echo(f"Error: the output could not be written: {error.strerror}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:  # Click would turn it into Abort, with status 1
            click.echo("\ninterrupted", err=True)
            ctx.exit(INTERRUPTED)


def require_working_directory() -> None:
    """Raise UsageError if the working directory is gone: no relative path means anything there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError(
            "the working directory was deleted; change to another, e.g. cd ~"
        ) from None


@contextmanager
def printable_errors() -> Iterator[None]:
    """Let Click's errors repeat what was typed without effect on the terminal."""
    try:
        yield
    except click.ClickException as error:
        message = printable(error.format_message(), keep="\n")
        error.format_message = lambda: message  # type: ignore[method-assign]
        raise


def discard_output() -> None:
    """Send what is left of standard output nowhere; Python would fail on it again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="attnbench")
def cli() -> None:
    """Benchmark LLM attention kernels, store every measurement, compare commits and GPUs.

    Start with `attnbench attn`: it measures every backend that can run here and ends in a table.
    """


def main() -> None:
    """The console script; a defect of attnbench has an exit status of its own."""
    look_seldom()
    keep_bytecode()
    open_closed_streams()
    escape_what_has_no_encoding()
    end_as_ctrl_c_does()
    try:
        cli.main(prog_name="attnbench")
    except Exception:  # noqa: BLE001  (whatever it is)
        traceback.print_exc()
        raise SystemExit(INTERNAL) from None
