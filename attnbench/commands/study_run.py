"""Measuring a study and showing what follows from it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from attnbench.commands import terminal
from attnbench.commands.conclusion import Showing, show_conclusion
from attnbench.commands.family_request import read_request
from attnbench.commands.measuring import (
    ASKING,
    command_line,
    end_interrupted,
    show_outcomes,
    write_csv_files,
    write_json_file,
)
from attnbench.commands.note import note
from attnbench.commands.output_file import not_read_from
from attnbench.families import FAMILIES
from attnbench.results.report import read_run
from attnbench.running.dealer import measured
from attnbench.running.forecast import forecast
from attnbench.running.measuring import Measuring
from attnbench.running.open_run import OpenRun
from attnbench.running.request import command_of, plan_of
from attnbench.running.session import sessions
from attnbench.running.slow import SOON, said_if_slow
from attnbench.studies.conclusion import conclude
from attnbench.studies.deck import study_deck
from attnbench.studies.file import Study
from attnbench.studies.listing import dry_run_text
from attnbench.studies.request import StudyRequest


def measure_study(
    study: Study,
    again: Sequence[str],
    family_options: tuple[str, ...],
    shown: Showing,
    read_from: Path | None,
    *,
    quick: bool = False,
    exhaustive: bool = False,
) -> None:
    """Measure and conclude; the words `again` ask for the study, which came from `read_from`."""
    request = read_request(FAMILIES[study.family], f"study {study.name}", family_options)
    if read_from is not None:
        not_read_from(read_from, _written(request.measuring, shown))
    asked = StudyRequest.of(study, request.named, is_quick=quick, is_exhaustive=exhaustive)
    measuring = replace(request.measuring, rounds=asked.rounds(request.named))
    command = command_of(measuring, "study", command_line(), asked.stored(request.named))
    plan_for = asked.plan_for(lambda cases, machine: plan_of(measuring, cases, machine, note))
    if measuring.dry_run:
        with said_if_slow(lambda: ASKING, note, SOON):
            foreseen = forecast(command, plan_for)
        click.echo(dry_run_text(asked, foreseen, measuring.rounds, terminal.width()))
        return
    with sessions(command, plan_for, note) as runs:
        try:
            show_outcomes(runs, measured(runs, study_deck, note))
        except KeyboardInterrupt:
            end_interrupted(runs, [*again, *request.files(), *shown.words()], command)
        for run in runs:
            apart = shown.of_run(run.run) if len(runs) > 1 else shown
            show_conclusion(run.store, run.run, conclude(run.store, run.run), apart)
        _write(runs, measuring)
    raise click.exceptions.Exit(0 if all(run.succeeded for run in runs) else 1)


def _written(measuring: Measuring, shown: Showing) -> dict[str, Path | None]:
    """The files to write, by option."""
    return {
        "--output-csv": measuring.output_csv,
        "--decision": shown.decision,
        "--output-json": measuring.output_json,
    }


def _write(runs: Sequence[OpenRun], measuring: Measuring) -> None:
    """Write the results of all runs to the files that are named."""
    if measuring.output_csv or measuring.output_json:
        found = read_run(runs[0].store, *(run.run for run in runs))
        write_json_file(found, measuring.output_json)
        write_csv_files(runs[0].store, found, [measuring.output_csv])
