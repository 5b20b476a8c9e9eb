"""`attnbench report`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import get_terminal_size
from typing import TextIO

import click

from attnbench.commands import terminal
from attnbench.commands.note import note
from attnbench.commands.options import Shown
from attnbench.commands.output_file import output_file
from attnbench.commands.table import table_command
from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.note import Note
from attnbench.options.kinds import Listed, OpenFile, Text, one_of
from attnbench.options.option import flag, one, several
from attnbench.reporting.pivot import METRICS
from attnbench.reporting.report import Format, View, report_text
from attnbench.reporting.tables import Extra
from attnbench.reporting.text_table import UNLIMITED
from attnbench.results.report import Report, read_report
from attnbench.results.where import Condition, parse_condition

_FORMATS: Mapping[str, Format] = {".csv": "csv", ".json": "json", ".md": "markdown"}


def _conditions(texts: Sequence[str], _: Note) -> tuple[Condition, ...]:
    return tuple(map(parse_condition, texts))


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The options of `attnbench report`."""

    refs: tuple[str, ...] = several(
        Text(),
        "--run",
        metavar="REF...",
        help="Runs by number, label, branch, commit or gpu:NAME.  [default: latest]",
    )
    where: tuple[Condition, ...] = several(
        Listed(_conditions),
        "--where",
        metavar="CONDITION...",
        help="Only rows that meet all conditions: any field, one of = != < <= > >= ~, a value.",
    )
    pivot: str | None = one(
        Text(),
        "--pivot",
        metavar="FIELD",
        help="One column per value of a field (backend, batch, kv_len, layout, label, gpu, ...) "
        "instead of one row; shows one metric.",
    )
    metric: str | None = one(
        one_of(*METRICS), "--metric", help="Metric of --pivot.  [default: latency]"
    )
    best: bool = flag("--best", help="The best backend of each workload, with ties.")
    host: bool = flag("--host", help="Also show the host's time for a call and for planning it.")
    ids: bool = flag("--ids", help="Also show each case's key, for repro and history.")
    verbose: bool = flag(
        "--verbose",
        "-v",
        help="Also show what each backend chose, and the best value of a knob for every batch.",
    )
    form: Format = one(
        one_of("table", "markdown", "csv", "json"),
        "--format",
        default="table",
        help="csv and json have every round with all its facts.",
    )
    output: TextIO = one(
        OpenFile(),
        "--output",
        default="-",
        show_default=False,
        metavar="FILE",
        help="File to write.  [default: standard output]",
    )
    no_pager: bool = flag("--no-pager", help="Do not page long output.")


HELP = """Show stored results as tables, Markdown, CSV or JSON.

    \b
    Columns of a table:
    latency, +- %   mean over the rounds, and half the range of their medians
    roof %          the least time that the hardware allows, of the latency
    of meas %       the same at the rates that this machine has reached
    vs best, +- %   latency over the workload's best, and half its 95 % interval

    \b
    attnbench report                                the latest run
    attnbench report --run main pr --pivot label    two labels or branches
    attnbench report --where family=mla backend=flashmla 'kv_len>=4096'
    attnbench report --run 12 --format csv --output run12.csv
    attnbench report --html run.html                a page with plots too
    """


def _run(asked: ReportOptions, shown: Shown) -> None:
    on_stdout = asked.output.name == "-"
    view = View(
        form=asked.form,
        pivot=asked.pivot,
        metric=asked.metric,
        best=asked.best,
        extra=Extra(asked.host, asked.ids, asked.verbose),
        width=terminal.width() if on_stdout else UNLIMITED,
        is_coloured=on_stdout and terminal.style() == "colour",
    )
    with Store.open(shown.db, create=False, note=note) as store:
        found = read_report(store, asked.refs, asked.where)
        text = report_text(found, view)
        if shown.html:
            page = _page(store, found, has_conditions=bool(asked.where))
            with output_file(shown.html) as file:
                file.write(page)
    if on_stdout and sys.stdout is None:
        raise AttnbenchError("standard output is closed; name a file, e.g. --output report.txt")
    is_long = text.count("\n") >= get_terminal_size().lines
    if on_stdout and terminal.is_terminal() and is_long and not asked.no_pager:
        click.echo_via_pager(text)
    else:
        click.echo(text, file=asked.output)
    if not on_stdout:
        note(_written(asked.output.name, asked.form))


def _written(name: str, form: Format) -> str:
    """What was written; a table in a file whose name promises another format is easily missed."""
    promised = _FORMATS.get(Path(name).suffix.lower(), form)
    if form != "table" or promised == "table":
        return f"wrote {name}"
    return f"wrote {name} as a text table; --format {promised} writes what its name says"


def _page(store: Store, report: Report, *, has_conditions: bool) -> str:
    """The report as HTML. Its modules are a fifth of the start of a report that is text."""
    from attnbench.reporting.html.report import report_page
    from attnbench.results.samples import read_quantiles
    from attnbench.studies.page import study_parts

    # A study concludes from all its rows, so conditions leave its conclusion out.
    studies = [] if has_conditions else study_parts(store, report)
    return report_page(report, read_quantiles(store, report.measurements), studies)


command = table_command("report", ReportOptions, Shown, help=HELP, run=_run)
