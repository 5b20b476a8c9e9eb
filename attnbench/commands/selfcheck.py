"""`attnbench selfcheck`."""

from dataclasses import dataclass

import click

from attnbench.commands import terminal
from attnbench.commands.measuring import command_line, show_runs
from attnbench.commands.note import note
from attnbench.commands.table import table_command
from attnbench.db.store import Store
from attnbench.families import FAMILIES
from attnbench.families.options import FamilyOptions
from attnbench.options.kinds import Whole, one_of
from attnbench.options.option import one, several, shared
from attnbench.reporting.selfcheck import selfcheck_text
from attnbench.results.selfcheck import find_and_store
from attnbench.running.command import Command
from attnbench.running.device_options import OnDevice
from attnbench.running.measuring import Sampling
from attnbench.running.selfcheck import PAIR, SelfCheck, plan_of_families
from attnbench.specs.batch import Batch


@dataclass(frozen=True, kw_only=True)
class SelfCheckOptions(Sampling, OnDevice):
    """The options of `attnbench selfcheck`."""

    family: tuple[str, ...] = several(
        one_of(*FAMILIES),
        "--family",
        default=tuple(FAMILIES),
        metavar="NAME...",
        heading="Selection",
        help=f"Of {', '.join(FAMILIES)}.  [default: all]",
    )
    backend: tuple[str, ...] = shared(FamilyOptions, "backend")
    batch: tuple[Batch, ...] = shared(FamilyOptions, "batch")
    sessions: int = one(
        Whole(least=2),
        "--sessions",
        default=3,  # in two, half of the cases with two modes do not show them
        metavar="N",
        heading="Timing",
        help="Separate runs besides the two interleaved ones; with four or more, the others judge "
        "each pair.",
    )


def _run(options: SelfCheckOptions) -> None:
    """Measure, then find the noise and store it."""
    asked = Command(
        name="selfcheck",
        argv=command_line(),
        options={},
        devices=[options.device],
        db=options.db,
        wait=options.wait,
    )
    families = [FAMILIES[name] for name in options.family]
    plan_for = plan_of_families(families, options, options.backend, options.batch)
    check = SelfCheck(asked, plan_for, options.sessions, note)
    runs = show_runs(check.outcomes(), len(PAIR) + options.sessions)
    with Store.open(options.db, note=note) as store:
        found = find_and_store(store, [run.run for run in runs])
    click.echo(selfcheck_text(found, terminal.width()))
    raise click.exceptions.Exit(0 if check.succeeded else 1)


HELP = """Measure equal code against itself: the noise that diff judges by.

    \b
    attnbench selfcheck                             every family's default cases
    attnbench selfcheck --family attn --backend sdpa --sessions 4 --rounds 5
    """

command = table_command("selfcheck", SelfCheckOptions, help=HELP, run=_run)
