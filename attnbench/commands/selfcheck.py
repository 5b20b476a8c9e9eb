"""`attnbench selfcheck`."""

import sys
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from shutil import get_terminal_size
from typing import Any

import click

from attnbench.commands import options
from attnbench.commands.variadic import VariadicCommand
from attnbench.db.store import Store
from attnbench.errors import INTERRUPTED
from attnbench.families import FAMILIES
from attnbench.families.family import Family
from attnbench.provenance.machine import Machine
from attnbench.reporting.progress import outcome_line
from attnbench.reporting.selfcheck import selfcheck_text
from attnbench.results.selfcheck import find_and_store
from attnbench.running.cases import DEFAULT_TIMER, Asked, asked_by_default, batches_of, cases_for
from attnbench.running.plan import Limits, Plan
from attnbench.running.selfcheck import SelfCheck
from attnbench.running.session import Command
from attnbench.timing.method import Method


@click.command("selfcheck", cls=VariadicCommand)
@click.option(
    "--family",
    "families",
    multiple=True,
    type=click.Choice(list(FAMILIES)),
    default=tuple(FAMILIES),
    metavar="NAME...",
    help=f"Of {', '.join(FAMILIES)}.  [default: all]",
)
@options.backend_option
@options.batch_option
@options.rounds_option
@click.option(
    "--sessions",
    type=click.IntRange(min=2),
    default=2,
    show_default=True,
    help="Separate runs beside the interleaved two; from four on each two are judged by the "
    "others.",
)
@options.device_option
@options.samples_option
@options.timeout_option
@options.seed_option
@options.db_option
@options.wait_option
def command(**given: Any) -> None:
    """Measure equal code against itself: the noise that diff judges by.

    \b
    attnbench selfcheck                             every family's default cases
    attnbench selfcheck --family attn --backend sdpa --sessions 4 --rounds 5
    """
    ctx, limits = click.get_current_context(), Limits(measure=given["timeout"])
    asked = Command(
        name="selfcheck",
        argv=["attnbench", *sys.argv[1:]],
        options={},
        device=given["device"],
        db=given["db"],
        wait=given["wait"],
    )
    check = SelfCheck(asked, partial(_plan, given, limits), given["sessions"], options.note)
    try:
        _show_outcomes(check)
    except KeyboardInterrupt:
        stored = ", ".join(str(run.run) for run in check.runs) or "none"
        click.echo(f"\ninterrupted; runs with what was measured: {stored}", err=True)
        ctx.exit(INTERRUPTED)
    with Store.open(given["db"], note=options.note) as store:
        found = find_and_store(store, [run.run for run in check.runs])
    click.echo(selfcheck_text(found, get_terminal_size().columns))
    ctx.exit(0 if check.succeeded else 1)


def _plan(given: Mapping[str, Any], limits: Limits, machine: Machine) -> Plan:
    asked = [_asked(FAMILIES[family], given) for family in given["families"]]
    return Plan(
        cases=tuple(case for each in asked for case in cases_for(each, machine.kind)),
        methods=(Method(DEFAULT_TIMER[machine.kind], samples=given["samples"]),),
        rounds=given["rounds"],
        seed=given["seed"],
        limits=limits,
    )


def _asked(family: Family, given: Mapping[str, Any]) -> Asked:
    """The family's cases, of few batches unless some are named."""
    few = batches_of(family.some_batches or "")
    return asked_by_default(family, given["backends"], given["batches"] or few)


def _show_outcomes(check: SelfCheck) -> None:
    """One line an outcome, on stderr."""
    with closing(check.outcomes()) as outcomes:
        for run, finished in outcomes:
            click.echo(f"run {run.run} {outcome_line(finished)}", err=True)
