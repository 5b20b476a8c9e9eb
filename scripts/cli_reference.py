"""Write docs/reference/cli.md from the help of every command: `make docs`."""

from collections.abc import Iterator
from pathlib import Path

import click

from attnbench.cli import cli

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "cli.md"

_WIDTH = 100
_HEAD = """\
# Command line

Every command with its help. `make docs` writes this page; do not edit it by hand.
"""


def reference() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *map(_section, contexts(cli, "attnbench"))])


def contexts(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[click.Context]:
    """The command's context and, in the order of its help, those of its subcommands."""
    ctx = click.Context(
        command, parent, info_name=name, terminal_width=_WIDTH, **command.context_settings
    )
    yield ctx
    if isinstance(command, click.Group):
        for subname in command.list_commands(ctx):
            if subcommand := command.get_command(ctx, subname):
                yield from contexts(subcommand, subname, ctx)


def _section(ctx: click.Context) -> str:
    return f"## {ctx.command_path}\n\n```text\n{ctx.get_help()}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
