"""`attnbench ab`."""

import shutil
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from attnbench.commands.diff_options import diff_options, show_and_exit
from attnbench.commands.measuring import Instead
from attnbench.commands.options import all_of, note, parsed
from attnbench.commands.variadic import VariadicCommand
from attnbench.db.store import Store
from attnbench.errors import INTERRUPTED, UsageError
from attnbench.families import FAMILIES
from attnbench.provenance.environment import kept_variables
from attnbench.provenance.machine import Machine
from attnbench.reporting.progress import outcome_line
from attnbench.results.diff import diff
from attnbench.running.builds import Build, check_builds, own_code
from attnbench.running.interleaved import Side, interleaved
from attnbench.running.open_run import Finished, OpenRun
from attnbench.running.plan import Plan
from attnbench.running.session import Command

# Of a family's command what speaks of one run.
_OF_ONE_RUN = ("resume", "label", "output_csv", "save_csv", "output_json")


def _program(text: str) -> Path:
    if found := shutil.which(text):
        return Path(found).absolute()
    raise UsageError(
        f"'{text}' is no program that can be run; accepted is the Python of an environment, e.g. "
        "venv/bin/python"
    )


def _variables(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"'{text}' is no variable; accepted is NAME=VALUE, e.g. VLLM_X=1")
        found[name] = value
    return found


_both_sides = all_of(
    [
        option
        for side in ("base", "head")
        for option in (
            click.option(
                f"--{side}-python",
                default=sys.executable,
                callback=parsed(_program),
                metavar="PATH",
                help=f"The Python that {side} is measured in.  [default: this one]",
            ),
            click.option(
                f"--{side}-env",
                multiple=True,
                callback=parsed(_variables),
                metavar="NAME=VALUE...",
                help=f"Environment variables of {side} alone.",
            ),
            click.option(
                f"--{side}-label", default=side, show_default=True, help="A name for its run."
            ),
        )
    ]
)


@dataclass(frozen=True, slots=True)
class _Turns(Instead):
    """Measures a family's cases in two builds by turns, and ends in their diff."""

    ours: Mapping[str, Any]  # the options of `ab` itself

    def measure(
        self, command: Command, plan_for: Callable[[Machine], Plan], given: Mapping[str, Any]
    ) -> None:
        for name in _OF_ONE_RUN:
            if given.get(name):
                raise UsageError(
                    f"--{name.replace('_', '-')} is of one run, and ab makes two; name them with "
                    "--base-label and --head-label, and `attnbench report` exports them"
                )
        runs = self._runs(replace(command, name="ab", argv=self._told(command.argv)), plan_for)
        with Store.open(command.db, create=False, note=note) as store:
            found = diff(store, *(f"run:{run}" for run in runs), margin=self.ours["margin"])
        show_and_exit(found, self.ours)

    def _told(self, argv: Sequence[str]) -> list[str]:
        """The command line without the values of variables that hold secrets."""
        given = [
            each for side in ("base", "head") for each in dict(self.ours[f"{side}_env"]).items()
        ]
        hidden = [f"{n}={v}" for n, v in given if n not in kept_variables({n: v}, (n,))]
        return [
            f"{word.partition('=')[0]}=..." if word.endswith(tuple(hidden)) else word
            for word in argv
        ]

    def _runs(self, command: Command, plan_for: Callable[[Machine], Plan]) -> list[int]:
        """Measure both sides; the numbers of their runs."""
        base, head = (self._build(side) for side in ("base", "head"))
        with own_code() as code:
            check_builds((base, head), code, command.device)
            sides = [
                Side(self.ours[f"{build.side}_label"], partial(build.start, code))
                for build in (base, head)
            ]
            return _show_outcomes(
                interleaved(command, sides, lambda m: plan_for(m).isolated(), note)
            )

    def _build(self, side: str) -> Build:
        return Build(side, self.ours[f"{side}_python"], dict(self.ours[f"{side}_env"]))


def _show_outcomes(turns: Generator[tuple[OpenRun, Finished]]) -> list[int]:
    """One line an outcome, on stderr; the numbers of the runs, in the order of the sides."""
    runs = dict[int, None]()
    with closing(turns):
        try:
            for run, finished in turns:
                runs[run.run] = None
                click.echo(f"run {run.run} {outcome_line(finished)}", err=True)
        except KeyboardInterrupt:
            stored = ", ".join(map(str, runs)) or "none"
            click.echo(f"\ninterrupted; runs with what was measured: {stored}", err=True)
            click.get_current_context().exit(INTERRUPTED)
    return list(runs)


@click.command(
    "ab",
    cls=VariadicCommand,
    context_settings={"allow_interspersed_args": False},
)
@_both_sides
@diff_options
@click.argument("measured", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND")
def command(measured: Sequence[str], **given: Any) -> None:
    """Measure two builds alternately on one device, and compare them.

    Rounds alternate between the two environments in the order A B B A, each in a fresh worker, so
    that drift of the device falls on both alike. Both run this attnbench's own code. Each side is
    stored as a run of its own; then comes their diff, with its exit status.

    \b
    attnbench ab --base-python vllm-main/bin/python --head-python vllm-pr/bin/python \\
        -- mla --backend flashmla --rounds 5
    attnbench ab --head-env VLLM_FLASH_ATTN_VERSION=2 -- attn --backend flash
    """
    family, *options = measured
    ctx = click.get_current_context()
    if family not in FAMILIES:
        raise UsageError(
            f"ab measures with {', '.join(FAMILIES)}, not '{family}', e.g. attnbench ab -- attn"
        )
    commands = ctx.find_root().command
    assert isinstance(commands, click.Group)
    found = commands.get_command(ctx, family)
    assert found is not None
    with found.make_context(family, options, parent=ctx, obj=_Turns(given)) as inner:
        found.invoke(inner)
