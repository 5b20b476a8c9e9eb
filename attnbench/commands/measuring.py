"""Shared by the measuring commands: run cases, show outcomes as they come, end with a table."""

import shlex
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import NoReturn, TextIO

import click
from tqdm import tqdm

from attnbench.commands import terminal
from attnbench.commands.bar import outcomes_bar
from attnbench.commands.note import note
from attnbench.commands.output_file import output_file
from attnbench.commands.table import named_options
from attnbench.db.store import Store
from attnbench.errors import INTERRUPTED, UsageError
from attnbench.families.family import Family
from attnbench.families.options import FamilyOptions
from attnbench.kernels.registry import own_problems
from attnbench.passwords import without_password
from attnbench.records import Status
from attnbench.reporting.export import write_csv, write_json
from attnbench.reporting.forecast import forecast_text
from attnbench.reporting.progress import TimeLeft, cards_text, outcome_line, where_text
from attnbench.reporting.report import View, report_text
from attnbench.reporting.tables import Extra
from attnbench.results.report import Report, read_run
from attnbench.running.command import Command
from attnbench.running.dealer import measured
from attnbench.running.deck import deck_of
from attnbench.running.forecast import forecast
from attnbench.running.measuring import Measuring
from attnbench.running.open_run import OpenRun
from attnbench.running.request import MeasuringRequest
from attnbench.running.session import sessions
from attnbench.running.slow import SOON, said_if_slow
from attnbench.timing.finished import Finished

ASKING = "asking which cases can run here"  # during a dry run

NOTHING = (
    "nothing was measured, for the reasons above; `attnbench doctor` lists the backends that can "
    "run here"
)

_AGAIN = "it cannot be continued; begin again with the same command"

# Writes a run as CSV; the store is for its samples.
CsvWriter = Callable[[Store, Report, TextIO], None]


def run_family(family: Family, options: FamilyOptions, measuring: Measuring) -> NoReturn:
    """Run a family's command."""
    named = named_options(click.get_current_context(), sys.argv)
    note_own_problems(family)
    measure(MeasuringRequest(family, options, measuring, named))


def note_own_problems(family: Family) -> None:
    """Say which of the user's own kernels are not measured, and why."""
    with said_if_slow(lambda: "importing your own kernels", note):
        problems = own_problems(family.name)
    for problem in problems:
        note(problem)


def measure(request: MeasuringRequest) -> NoReturn:
    """Measure, print the table, and end with the command's exit status."""
    command, plan_for = request.command(command_line()), request.plan_for(note)
    options, measuring = request.options, request.measuring
    budget = options.budget()
    if measuring.dry_run:
        show_forecast(request, sides=1)
    with sessions(command, plan_for, note) as runs:
        try:
            show_outcomes(runs, measured(runs, deck_of, note))
        except KeyboardInterrupt:
            end_interrupted(runs, [command.name, *request.files()], command)
        store = runs[0].store
        found = read_run(store, *(run.run for run in runs))
        extra, is_coloured = Extra(measuring.host, budget=budget), terminal.style() == "colour"
        view = View(width=terminal.width(), is_coloured=is_coloured, extra=extra)
        click.echo(report_text(found, view))
        write_json_file(found, measuring.output_json)
        csv_files = [measuring.output_csv, *options.more_csv()]
        write_csv_files(store, found, csv_files, _CSV[request.family.csv_columns])
        if all(run.planned == 0 for run in runs):
            note(NOTHING)
    raise click.exceptions.Exit(0 if all(run.succeeded for run in runs) else 1)


def show_forecast(request: MeasuringRequest, sides: int) -> NoReturn:
    """Print what the command would measure, of one side or of both alike, and exit."""
    if request.measuring.resume is not None:
        raise UsageError(
            "--dry-run shows what a new run would measure, and --resume continues a stored one; "
            "leave one of them out, e.g. attnbench attn --dry-run"
        )
    with said_if_slow(lambda: ASKING, note, SOON):
        found = forecast(request.command(command_line()), request.plan_for(note))
    click.echo(forecast_text(found, terminal.width(), sides))
    raise click.exceptions.Exit(0)


def command_line() -> list[str]:
    """The words of this command."""
    return ["attnbench", *sys.argv[1:]]


def end_interrupted(runs: Sequence[OpenRun], words: Sequence[str], command: Command) -> NoReturn:
    """Say how to continue, and end with the exit status of Ctrl-C; the words name the command."""
    db = command.db
    again = shlex.join([*words, *(["--ray", command.ray] if command.ray else [])])
    where = f" --db {shlex.quote(without_password(db))}" if db != "attnbench.db" else ""
    plural = "s" * (len(runs) > 1)
    numbers = ", ".join(str(run.run) for run in runs)
    click.echo(f"\ninterrupted; results so far are stored as run{plural} {numbers}", err=True)
    for run in runs:
        click.echo(f"continue with: attnbench {again} --resume {run.run}{where}", err=True)
    raise click.exceptions.Exit(INTERRUPTED)


def show_outcomes(runs: Sequence[OpenRun], outcomes: Iterable[tuple[OpenRun, Finished]]) -> None:
    """One line per outcome and, on a terminal, a bar with the time left; all on stderr."""
    _load_what_follows_needs()
    for run in runs:
        names = [card.name for card in run.cards]
        click.echo(f"run {run.run} on {where_text(run.machine, names)}", err=True)
    left, cards = TimeLeft(), {card.name: 0 for run in runs for card in run.cards}
    total = _remaining(runs, len(runs))
    with outcomes_bar(total) as bar:
        for run, finished in outcomes:
            if finished.outcome.status is not Status.REFUSED:
                bar.update()
                if finished.card:
                    cards[finished.card] += 1
                    bar.set_postfix_str(cards_text(cards))
                tqdm.write(outcome_line(finished), file=sys.stderr)
                # A study's search measures no more than it needs of what is left.
                text = left.after(finished, lambda: _remaining(runs, len(runs)))
                if text and run.plan.study is None:
                    note(text)


def _load_what_follows_needs() -> None:
    """Import SciPy, which takes 0.2 s, while the devices load their libraries."""
    Thread(target=import_module, args=["scipy.special"], daemon=True).start()


def show_runs(
    outcomes: Generator[tuple[OpenRun, Finished]],
    num_runs: int,
    advice: str = "",
    *,
    is_resumed: bool = False,
) -> list[OpenRun]:
    """As `show_outcomes` of runs that begin one by one; returns them in the order of their numbers.

    Refused cases have none: what follows the runs lists them by reason. `advice` is given after
    Ctrl-C once all have begun; on several cards they begin together, and resumed ones had begun.
    """
    runs = dict[int, OpenRun]()
    with closing(outcomes):
        try:
            _show_begun(outcomes, runs, num_runs)
        except KeyboardInterrupt:
            stored = ", ".join(map(str, runs)) or (
                "those that it resumes" if is_resumed else "none"
            )
            click.echo(f"\ninterrupted; runs with results so far: {stored}", err=True)
            all_begun = len(runs) == num_runs or any(run.cards for run in runs.values())
            goes_on = advice and (all_begun or is_resumed)
            click.echo(advice if goes_on else _AGAIN, err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
    return [runs[number] for number in sorted(runs)]


def _show_begun(
    outcomes: Iterable[tuple[OpenRun, Finished]], runs: dict[int, OpenRun], num_runs: int
) -> None:
    """Show each outcome, and add its run to those that have begun."""
    left = TimeLeft()
    with outcomes_bar() as bar:
        for run, finished in outcomes:
            runs[run.run] = run
            if finished.outcome.status is Status.REFUSED:
                continue
            bar.update()
            bar.total = bar.n + _remaining(runs.values(), num_runs)
            tqdm.write(f"run {run.run} {outcome_line(finished)}", file=sys.stderr)
            if text := left.after(finished, lambda: _remaining(runs.values(), num_runs)):
                note(text)


def _remaining(begun: Collection[OpenRun], num_runs: int) -> int:
    """Outcomes that all runs still have to give, if no case fails; they are of equal plans."""
    later = (num_runs - len(begun)) * max(run.planned for run in begun)
    return later + sum(run.remaining for run in begun)


def write_json_file(report: Report, path: Path | None) -> None:
    """Write every round as JSON, if a file was named."""
    if path is not None:
        with output_file(path) as file:
            write_json(report.measurements, report.runs, file, report.sentinels)


def every_round(_: Store, report: Report, file: TextIO) -> None:
    """A line per round, as --output-csv writes for most families."""
    write_csv(report.measurements, report.runs, file, report.sentinels)


def write_csv_files(
    store: Store, report: Report, paths: Sequence[Path | None], as_csv: CsvWriter = every_round
) -> None:
    """Write the run as CSV to each named file."""
    for path in filter(None, paths):
        with output_file(path) as file:
            as_csv(store, report, file)


def _as_trtllm(store: Store, report: Report, file: TextIO) -> None:
    """As vLLM's benchmark of TRT-LLM writes it. Its module imports what measures, 0.1 s."""
    from attnbench.compat.trtllm_csv import write_trtllm_csv

    write_trtllm_csv(store, report, file)


_CSV: Mapping[str, CsvWriter] = {"rounds": every_round, "trtllm": _as_trtllm}
