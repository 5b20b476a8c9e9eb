"""`attnbench diff`."""

from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from typing import Any

import click

from attnbench.commands.diff_options import diff_options, show_and_exit
from attnbench.commands.options import db_option, html_option, note
from attnbench.commands.variadic import VariadicCommand
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.reporting.explain import explain_text
from attnbench.reporting.gpu_diff import gpu_diff_json, gpu_diff_text
from attnbench.reporting.html.diff import diff_page
from attnbench.reporting.text_table import Style
from attnbench.results.diff import diff
from attnbench.results.explain import find_row, read_samples
from attnbench.results.gpu_diff import GpuDiff, diff_gpus, is_across_gpus
from attnbench.results.report import read_sentinels
from attnbench.results.samples import read_quantiles


@click.command("diff", cls=VariadicCommand)
@click.option("--base", required=True, metavar="REF", help="What to compare with.")
@click.option(
    "--head",
    required=True,
    metavar="REF",
    help="What is new: runs by number, label, branch, commit or gpu:NAME, or latest.",
)
@click.option(
    "--across",
    metavar="FIELD[=BASE:HEAD]",
    help="Pair cases that differ in exactly this field or knob; both sides may be one run.",
)
@diff_options
@click.option("--pool", is_flag=True, help="Use all runs of a side, not each case's newest.")
@click.option(
    "--explain",
    metavar="CASE",
    help="Show one case whole: its key's beginning, or values that only it has.",
)
@html_option
@db_option
def command(**given: Any) -> None:
    """Compare two sets of runs: what got slower, what did not.

    Two models of GPU (gpu:NAME on both sides) get no verdicts, but the ratio of times that their
    rooflines foresee.

    Exit status: 0 nothing slower, 1 slower or newly failing, 2 usage, 3 could not compare.

    \b
    attnbench diff --base main --head pr
    attnbench diff --base commit:1a2b3c4 --head latest --margin 2% --format markdown
    attnbench diff --base latest --head latest --across backend=sdpa:naive
    attnbench diff --base main --head pr --explain 'sdpa q2k'
    attnbench diff --base gpu:H100 --head gpu:H200
    """
    base, head, pool = given["base"], given["head"], given["pool"]
    with Store.open(given["db"], create=False, note=note) as store:
        if is_across_gpus(base, head):
            _refuse(given, ("across", "explain", "html"), "does not go with two models of GPU")
            click.echo(_gpus_shown(diff_gpus(store, base, head, pool=pool), given["form"]))
            return
        found = diff(store, base, head, margin=given["margin"], pool=pool, across=given["across"])
        if given["explain"] is not None:
            if given["form"] == "json":
                raise UsageError("--explain shows text; --format beside it is table or markdown")
            row = find_row(found, given["explain"])
            samples = read_samples(store, row)
            click.echo(explain_text(found, row, samples, _style(given["form"]), _width()))
            return
        if given["html"]:
            sides = (found.base, found.head)
            listed = (each for side in sides for each in side.measurements)
            sentinels = read_sentinels(store, {run for side in sides for run in side.runs})
            page = diff_page(found, read_quantiles(store, listed), sentinels)
            given["html"].write(page)  # which opens the file
    show_and_exit(found, given)


def _gpus_shown(found: GpuDiff, form: str) -> str:
    return gpu_diff_json(found) if form == "json" else gpu_diff_text(found, _style(form), _width())


def _style(form: str) -> Style:
    return "markdown" if form == "markdown" else "table"


def _width() -> int:
    return get_terminal_size().columns


def _refuse(given: Mapping[str, Any], names: Sequence[str], why: str) -> None:
    if name := next((name for name in names if given[name] is not None), None):
        raise UsageError(f"--{name} {why}; name runs of one, e.g. --base 1 --head 2")
