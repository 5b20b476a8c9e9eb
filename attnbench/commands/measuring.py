"""What the measuring commands share: run the cases, show outcomes as they come, end in a table."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, NoReturn, TextIO

import click
from click.core import ParameterSource
from tqdm import tqdm

from attnbench.commands.options import note
from attnbench.db.store import Store
from attnbench.errors import INTERRUPTED
from attnbench.provenance.machine import Machine
from attnbench.records import Status
from attnbench.reporting.budget import Budget
from attnbench.reporting.export import write_csv, write_json
from attnbench.reporting.forecast import forecast_text
from attnbench.reporting.progress import outcome_line
from attnbench.reporting.tables import results_table
from attnbench.results.report import Report, read_run
from attnbench.running.cases import DEFAULT_TIMER, Asked, cases_for, check_scope
from attnbench.running.forecast import forecast
from attnbench.running.open_run import Finished, OpenRun
from attnbench.running.plan import Limits, Plan
from attnbench.running.session import Command, session
from attnbench.specs.case import Case
from attnbench.timing.method import CacheAsked, Method, Timer

NOTHING: Mapping[str, Any] = {}
CACHES: Mapping[str, tuple[CacheAsked, ...]] = {"both": ("cold", "hot")}
# Options that say nothing of what is measured, so that a resumed run may be given others.
FREE_ON_RESUME = {"resume", "db", "wait", "output_csv", "save_csv", "output_json", "dry_run"}
# Writes a run as CSV; the store has its samples.
CsvWriter = Callable[[Store, Report, TextIO], None]


class Instead(ABC):
    """What to do with a family's cases instead of measuring them once here."""

    @abstractmethod
    def measure(
        self, command: Command, plan_for: Callable[[Machine], Plan], given: Mapping[str, Any]
    ) -> None:
        """Measure them; `given` are the options of the family's command."""


def every_round(_: Store, report: Report, file: TextIO) -> None:
    """A line for each round: what --output-csv writes for most families."""
    write_csv(report.measurements, report.runs, file, report.sentinels)


def measure_family(
    given: Mapping[str, Any],
    asked: Asked,
    budget: Budget | None = None,
    as_csv: CsvWriter = every_round,
    more_csv: Sequence[Path] = (),
) -> None:
    """Measure what was asked, print the table, and end with the command's exit status.

    What --output-csv asks for, and the files of `more_csv`, are written by `as_csv`.
    Where another command wraps the family's, its context holds an `Instead`, which measures.
    """
    ctx = click.get_current_context()
    check_scope(asked)
    command = command_of(ctx, given, asked.family)
    plan_for = partial(_plan, given, asked)
    if given["dry_run"]:
        click.echo(forecast_text(forecast(command, plan_for), get_terminal_size().columns))
        return
    if isinstance(ctx.obj, Instead):
        ctx.obj.measure(command, plan_for, given)
        return
    with session(command, plan_for, note) as run:
        try:
            show_outcomes(run, run.outcomes())
        except KeyboardInterrupt:
            end_interrupted(run, command.name, command.db)
        found = read_run(run.store, run.run)
        click.echo(_results(found, given, budget))
        write_json_file(found, given["output_json"])
        write_csv_files(run.store, found, [given["output_csv"], *more_csv], as_csv)
    ctx.exit(0 if run.succeeded else 1)


def _plan(given: Mapping[str, Any], asked: Asked, machine: Machine) -> Plan:
    return plan_of(given, cases_for(asked, machine.kind), machine)


def plan_of(given: Mapping[str, Any], cases: Sequence[Case], machine: Machine) -> Plan:
    """How the measuring options say that these cases are to be measured."""
    if given["modes"] and machine.kind == "cpu":
        modes = " ".join(given["modes"])
        note(f"--mode {modes} means nothing on a CPU, whose calls are timed one by one")
    if given["profile_memory"] and machine.kind == "cpu":
        note("--profile-memory: PyTorch counts no peak on a CPU, so it stays empty")
    return Plan(
        cases=tuple(cases),
        methods=tuple(
            Method(
                timer=each,
                cache=cache,
                samples=given["samples"],
                warmup_calls=given["warmup_calls"],
                regime=given["regime"],
                isolate=given["isolate"],
                eager_fallback=given["eager_fallback"],
            )
            for cache in CACHES.get(given["cache"], (given["cache"],))
            for each in _timers(given, machine)
        ),
        rounds=given["rounds"],
        seed=given["seed"],
        num_layers=given["num_layers"],
        profile_memory=given["profile_memory"],
        host=given["host"],
        limits=Limits(prepare=given["prepare_timeout"], measure=given["timeout"]),
    )


def _timers(given: Mapping[str, Any], machine: Machine) -> tuple[Timer, ...]:
    """The timers asked for, and CUPTI beside them to verify them."""
    if machine.kind == "cpu":
        return (DEFAULT_TIMER["cpu"],)
    timers = given["modes"] or (DEFAULT_TIMER["cuda"],)
    beside = ("kernel",) if given["verify_timer"] else ()
    return tuple(dict.fromkeys((*timers, *beside)))


def command_of(
    ctx: click.Context, given: Mapping[str, Any], name: str, beside: Mapping[str, Any] = NOTHING
) -> Command:
    """What was asked for beside the cases; `ctx` tells which options were given by hand.

    `beside` are others that a resumed run must share.
    """
    by_hand = {
        name: _plain(value)
        for name, value in given.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        and name not in FREE_ON_RESUME
    }
    return Command(
        name=name,
        argv=["attnbench", *sys.argv[1:]],
        options=by_hand | dict(beside),
        device=given["device"],
        db=given["db"],
        label=given["label"],
        source=given["source"],
        wait=given["wait"],
        resume=given["resume"],
    )


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, int | float | bool) else str(value)


def end_interrupted(run: OpenRun, command: str, db: str) -> NoReturn:
    """Tell how to continue, and end with the exit status of Ctrl-C."""
    click.echo(
        f"\ninterrupted; what was measured is stored as run {run.run}\n"
        f"continue with: attnbench {command} --resume {run.run}"
        + (f" --db {db}" if db != "attnbench.db" else ""),
        err=True,
    )
    click.get_current_context().exit(INTERRUPTED)


def show_outcomes(run: OpenRun, outcomes: Iterable[Finished]) -> None:
    """One line an outcome and, on a terminal, a bar with the time left; all on stderr."""
    click.echo(f"run {run.run} on {run.machine.label}", err=True)
    with tqdm(total=run.remaining, disable=not sys.stderr.isatty(), leave=False) as bar:
        for finished in outcomes:
            if finished.outcome.status is not Status.REFUSED:
                bar.update()
                tqdm.write(outcome_line(finished), file=sys.stderr)


def _results(found: Report, given: Mapping[str, Any], budget: Budget | None) -> str:
    return results_table(
        found.measurements,
        found.runs,
        sentinels=found.sentinels,
        host=given["host"],
        budget=budget,
        noise=found.noise,
    )


def write_json_file(report: Report, path: Path | None) -> None:
    """Every round as JSON, where a file was named."""
    if path is not None:
        with path.open("w", newline="") as file:
            write_json(report.measurements, report.runs, file, report.sentinels)


def write_csv_files(
    store: Store, report: Report, paths: Sequence[Path | None], as_csv: CsvWriter = every_round
) -> None:
    """The run as CSV to each file that was named."""
    for path in filter(None, paths):
        with path.open("w", newline="") as file:
            as_csv(store, report, file)
        note(f"wrote {path}")
