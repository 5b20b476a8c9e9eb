"""A study's conclusion with its plots and a decision, printed and written."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import click

from attnbench.commands import terminal
from attnbench.commands.completion import run_numbers
from attnbench.commands.note import note
from attnbench.commands.options import db_option
from attnbench.commands.output_file import output_file
from attnbench.commands.table import parsed
from attnbench.commands.value_types import may_be_made, whole_type, writable
from attnbench.db.store import Store
from attnbench.studies.conclusion import Conclusion, conclusion_text
from attnbench.studies.decision import decided
from attnbench.studies.decision_text import decision_text
from attnbench.studies.plots import require_matplotlib, write_plots


def _plots_folder(folder: Path) -> Path:
    """The folder, if plots can be drawn and written there."""
    require_matplotlib()
    return may_be_made(folder)


def _decision_option(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--decision",
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=parsed(lambda path: writable(path, "decision.json")),
        help=help,
    )


_OPTIONS = (
    click.option(
        "--plots",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        callback=parsed(_plots_folder),
        help="Also draw plots, one file each.",
    ),
    click.option(
        "--plot-format", type=click.Choice(["png", "svg"]), default="png", show_default=True
    ),
    _decision_option("Also decide which backend serves which batches, and write that as JSON."),
)


@dataclass(frozen=True, slots=True)
class Showing:
    """What a conclusion is shown with: plots, and a decision's file."""

    plots: Path | None
    plot_format: str
    decision: Path | None

    def of_run(self, run: int) -> Self:
        """The same in a folder and a file of one run of several."""
        plots = self.plots and self.plots / f"run-{run}"
        file = self.decision and self.decision.with_stem(f"{self.decision.stem}-run-{run}")
        return replace(self, plots=plots, decision=file)

    def words(self) -> list[str]:
        """The options that ask for the same."""
        plots = ["--plots", str(self.plots), "--plot-format", self.plot_format]
        decision = ["--decision", str(self.decision)]
        return [*(plots if self.plots else []), *(decision if self.decision else [])]


def shown_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that make a Showing."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def show_conclusion(store: Store, run: int, found: Conclusion, shown: Showing) -> None:
    """Print a conclusion, draw its plots and decide, as far as asked."""
    click.echo(conclusion_text(found, width=terminal.width()))
    if shown.plots is not None:
        for path in write_plots(found, shown.plots, shown.plot_format):
            click.echo(f"plot: {path}")
    if shown.decision is not None:
        click.echo()
        _show_decision(store, run, shown.decision)


def _show_decision(store: Store, run: int, path: Path | None) -> None:
    found = decided(store, run)
    click.echo(decision_text(found, terminal.width()))
    if path is not None:
        with output_file(path) as file:
            json.dump(found.as_facts(), file, indent=1)
            file.write("\n")


@click.command()
@click.argument("run", type=whole_type(), shell_complete=run_numbers)
@_decision_option("Also write it as JSON.")
@db_option
def decide(run: int, decision: Path | None, db: str) -> None:
    """Turn any stored run into rules: which backend for which batches, and vLLM's option for it."""
    with Store.open(db, create=False, note=note) as store:
        _show_decision(store, run, decision)
