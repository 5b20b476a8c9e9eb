"""`attnbench study`."""

import shlex
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from attnbench.commands import terminal
from attnbench.commands.completion import run_numbers, starting, studies
from attnbench.commands.conclusion import Showing, decide, show_conclusion, shown_options
from attnbench.commands.note import note
from attnbench.commands.options import db_option
from attnbench.commands.output_file import not_read_from
from attnbench.commands.study_run import measure_study
from attnbench.commands.table import GroupedCommand, options_of, read
from attnbench.commands.value_types import OutputFile, whole_type
from attnbench.db.store import Store
from attnbench.running.slow import SOON, said_if_slow
from attnbench.studies.conclusion import conclude
from attnbench.studies.from_trace import study_of_trace, words_of_trace
from attnbench.studies.listing import studies_table
from attnbench.studies.request import built_in, load_study
from attnbench.studies.stored import stored_study
from attnbench.studies.yaml_entry import read_utf8
from attnbench.traffic.options import TrafficOptions

_family_options = click.argument(
    "family_options", nargs=-1, type=click.UNPROCESSED, metavar="[FAMILY OPTIONS]..."
)


_WHOLE = 200  # characters, more than any first sentence


class RunByDefault(click.Group):
    """A group that takes a study in place of a subcommand and runs it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each subcommand with its whole first sentence, which Click would cut."""
        with formatter.section("Commands"):
            names = sorted(self.commands)
            helps = [self.commands[name].get_short_help_str(_WHOLE) for name in names]
            formatter.write_dl(list(zip(names, helps, strict=True)))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Subcommands, and the studies that may replace one."""
        names = starting(incomplete, built_in())
        return [*super().shell_complete(ctx, incomplete), *map(CompletionItem, names)]


@click.group("study", cls=RunByDefault)
def command() -> None:
    """Answer a question with a sweep and a conclusion.

    \b
    attnbench study list                            the built-in questions
    attnbench study reorder-threshold               measure and conclude
    attnbench study numsplits --backend flashattn_mla --rounds 5
    attnbench study traffic --trace requests.csv    which backend for that traffic
    attnbench study my-study.yaml --dry-run
    attnbench study conclude 12                     again, from stored results
    """


@command.command("list")
def list_() -> None:
    """List the built-in studies and their questions."""
    click.echo(studies_table(built_in().values(), terminal.width()))


@command.command()
@click.argument("name", metavar="NAME|RUN", shell_complete=studies)
@db_option
def show(name: str, db: str) -> None:
    """Print a study's file, or that of a stored run, for instance to change a copy of it."""
    if name.isdecimal():
        run = whole_type()(name)
        with Store.open(db, create=False, note=note) as store:
            text = str(stored_study(store, run)["text"])
    else:
        text = load_study(name).text
    click.echo(text.rstrip())


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", metavar="NAME|FILE", shell_complete=studies)
@click.option("--quick", is_flag=True, help="A pilot: a thinned sweep and one round.")
@click.option("--exhaustive", is_flag=True, help="Every cell of the file.")
@shown_options
@_family_options
def run(
    name: str,
    quick: bool,
    exhaustive: bool,
    family_options: tuple[str, ...],
    **shown: Any,
) -> None:
    """Measure a study's sweep and conclude.

    The options of the family's own command are options here too: --backend, --batch-specs,
    --rounds, --dry-run, --resume, --db, and so on. They stand after the study's name, and take
    precedence over what its file says. Options without effect on a study's sweep, such as
    --save-csv, are refused.
    """
    if name.startswith("-"):
        raise click.UsageError(f"the study's name comes first: attnbench study NAME {name} ...")
    if quick and exhaustive:
        raise click.UsageError("--quick thins the sweep and --exhaustive widens it; give one")
    study, again, file = load_study(name), ["study", name], Path(name)
    showing, read_from = Showing(**shown), file if file.is_file() else None
    measure_study(
        study, again, family_options, showing, read_from, quick=quick, exhaustive=exhaustive
    )


@command.command(cls=GroupedCommand, context_settings={"ignore_unknown_options": True})
@click.option(
    "--trace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A trace as `attnbench traffic` reads it; required.",
)
@shown_options
@_family_options
def traffic(
    trace: Path | None,
    plots: Path | None,
    plot_format: str,
    decision: Path | None,
    family_options: tuple[str, ...],
    **given: Any,
) -> None:
    """Reduce a trace to batches, measure them, and say which backend is best for it.

    The options of the family's own command are options here too: --backend, --scope, --rounds,
    --dry-run, --resume, --db, and so on; the family is that of --model. `attnbench traffic` shows
    the batches. With --ray only GPUs of the model --gpu measure, if it is given.

    \b
    attnbench study traffic --trace requests.csv --model llama3-70b --tp 8
    attnbench study traffic --trace requests.csv --rate 20 --backend flash triton
    """
    if trace is None:
        named = next(iter(family_options), "requests.csv")
        file = named if not named.startswith("-") else "requests.csv"
        raise click.UsageError(
            "--trace FILE is missing: the requests of a service, also with --resume, e.g. "
            f"attnbench study traffic --trace {shlex.quote(file)}"
        )
    options = read(TrafficOptions, given)
    is_given = (
        click.get_current_context().get_parameter_source("gpu") is ParameterSource.COMMANDLINE
    )
    if is_given and any(word.partition("=")[0] == "--ray" for word in family_options):
        family_options = (*family_options, "--gpu", options.gpu)
    with said_if_slow(lambda: f"reducing {trace.name} to batches", note, SOON):
        study = study_of_trace(trace, options)
    again = ["study", *words_of_trace(trace, options)]
    measure_study(study, again, family_options, Showing(plots, plot_format, decision), trace)


traffic.params = [*options_of(TrafficOptions), *traffic.params]


@command.command("conclude")
@click.argument("run", type=whole_type(), shell_complete=run_numbers)
@shown_options
@db_option
def conclude_(run: int, db: str, **shown: Any) -> None:
    """Compute a run's conclusion again from stored results, and store it."""
    with Store.open(db, create=False, note=note) as store:
        found = conclude(store, run)
        show_conclusion(store, run, found, Showing(**shown))
    raise click.exceptions.Exit(0 if found.has_cases else 1)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--output",
    type=OutputFile(),
    default="-",
    metavar="FILE",
    help="File to write.  [default: standard output]",
)
def import_(file: Path, output: Any) -> None:
    """Turn a config of vLLM's attention benchmarks into a study; explain dropped parts."""
    from attnbench.compat.suite_config import imported

    not_read_from(file, {"--output": Path(output.name)})
    study, dropped = imported(read_utf8(file), str(file))
    click.echo(study, file=output)
    for line in dropped:
        note(line)


command.add_command(decide)
