"""`attnbench diff`."""

from dataclasses import dataclass
from pathlib import Path

import click

from attnbench.commands import terminal
from attnbench.commands.diff_options import DiffOptions, show_and_exit
from attnbench.commands.note import note
from attnbench.commands.options import Shown
from attnbench.commands.output_file import output_file
from attnbench.commands.table import table_command
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.options.kinds import Text
from attnbench.options.option import flag, one
from attnbench.reporting.explain import explain_text
from attnbench.reporting.gpu_diff import gpu_diff_json, gpu_diff_text
from attnbench.reporting.html.diff import diff_page
from attnbench.reporting.html.gpu_diff import gpu_page
from attnbench.reporting.text_table import Style
from attnbench.results.diff import Diff, diff
from attnbench.results.explain import find_row, read_samples
from attnbench.results.gpu_diff import GpuDiff, diff_gpus, is_across_gpus
from attnbench.results.samples import read_quantiles
from attnbench.results.sentinels import read_sentinels


@dataclass(frozen=True, kw_only=True)
class ComparedRuns:
    """The runs and cases that `attnbench diff` compares."""

    base: str | None = one(
        Text(),
        "--base",
        metavar="REF",
        help="Runs to compare with: by number, label, branch, commit or gpu:NAME.  [default: "
        "previous, the run of the same command before the latest; with --across those of --head]",
    )
    head: str = one(
        Text(), "--head", default="latest", metavar="REF", help="Runs to judge, named alike."
    )
    across: str | None = one(
        Text(),
        "--across",
        metavar="FIELD[=BASE:HEAD]",
        help="Pair cases that differ in exactly this field or knob; between pairs those timed with "
        "a layer between calls and without. Both sides may be one run.",
    )
    pool: bool = flag("--pool", help="Use all runs of a side, not each case's newest.")
    explain: str | None = one(
        Text(),
        "--explain",
        metavar="CASE",
        help="Show one case in full: the first digits of its key, or values that only it has.",
    )

    @property
    def sides(self) -> tuple[str, str]:
        """Base and head; UsageError if nothing says with what the head is to be compared."""
        if self.base is not None:
            return self.base, self.head
        if self.across is not None:
            return self.head, self.head
        if self.head != "latest":
            raise UsageError(
                f"--head {self.head} needs --base, the runs to compare with, e.g. "
                f"--base main --head {self.head}"
            )
        return "run:previous", self.head


HELP = """Compare two sets of runs: what got slower, what did not.

    For two GPU models (gpu:NAME on both sides) there are no verdicts, but the ratio of times that
    their rooflines predict.

    Exit status: 0 no kernel slower, 1 slower or newly failing, 2 usage, 3 could not compare, 70 a
    defect of attnbench.

    \b
    attnbench diff                              the latest run and the one before
    attnbench diff --base main --head pr
    attnbench diff --base commit:1a2b3c4 --margin 2% --format markdown
    attnbench diff --across backend=sdpa:naive  two backends of the latest run
    attnbench diff --base main --head pr --explain 'sdpa q2k'
    attnbench diff --base gpu:H100 --head gpu:H200
    """


def _run(asked: ComparedRuns, judged: DiffOptions, shown: Shown) -> None:
    base, head = asked.sides
    with Store.open(shown.db, create=False, note=note) as store:
        if is_across_gpus(base, head):
            _refuse_across_gpus(asked, judged)
            compared = diff_gpus(store, base, head, pool=asked.pool)
            if shown.html:
                _write_gpus(store, compared, shown.html)
            click.echo(_gpus_shown(compared, judged.form))
            return
        found = diff(
            store,
            base,
            head,
            margin=judged.margin,
            pool=asked.pool,
            across=asked.across,
        )
        if asked.explain is not None:
            _show_explained(store, found, asked.explain, judged.form)
            return
        if shown.html:
            _write_page(store, found, shown.html)
    show_and_exit(found, judged)


def _show_explained(store: Store, found: Diff, case: str, form: str) -> None:
    if form == "json":
        raise UsageError("--explain shows text; use it with --format table or markdown")
    row = find_row(found, case)
    click.echo(explain_text(found, row, read_samples(store, row), _style(form), terminal.width()))


def _write_page(store: Store, found: Diff, path: Path) -> None:
    sides = (found.base, found.head)
    listed = (each for side in sides for each in side.measurements)
    sentinels = read_sentinels(store, {run for side in sides for run in side.runs})
    page = diff_page(found, read_quantiles(store, listed), sentinels)
    with output_file(path) as file:
        file.write(page)


def _write_gpus(store: Store, found: GpuDiff, path: Path) -> None:
    sentinels = read_sentinels(store, {*found.base.runs, *found.head.runs})
    page = gpu_page(found, sentinels)
    with output_file(path) as file:
        file.write(page)


def _gpus_shown(found: GpuDiff, form: str) -> str:
    if form == "json":
        return gpu_diff_json(found)
    return gpu_diff_text(found, _style(form), terminal.width())


def _style(form: str) -> Style:
    return "markdown" if form == "markdown" else terminal.style()


def _refuse_across_gpus(asked: ComparedRuns, judged: DiffOptions) -> None:
    given = {
        "--across": asked.across,
        "--explain": asked.explain,
        "--page": judged.page,
    }
    if name := next((name for name, value in given.items() if value is not None), None):
        raise UsageError(
            f"{name} does not apply to two GPU models; name runs of one, e.g. --base 1 --head 2"
        )


command = table_command("diff", ComparedRuns, DiffOptions, Shown, help=HELP, run=_run)
