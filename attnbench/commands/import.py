"""`attnbench import`."""  # noqa: N999 - the module of a command has its name

import sys
from pathlib import Path

import click

from attnbench.commands.note import note
from attnbench.commands.options import db_option
from attnbench.commands.table import parsed
from attnbench.commands.value_types import whole_type
from attnbench.commands.variadic import VariadicCommand
from attnbench.db.store import Store
from attnbench.imports.file import read_file, store_file
from attnbench.reporting.imported import imported_text, require_results
from attnbench.run_label import parse_label
from attnbench.specs.models import MODELS


@click.command("import", cls=VariadicCommand)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE...",
)
@click.option("--gpu", metavar="NAME", help="GPU of the measurements.  [default: unknown]")
@click.option(
    "--model",
    type=click.Choice([*MODELS]),
    metavar="NAME",
    help=f"Heads and dims of rows without them (vLLM's CSV): those of {', '.join(MODELS)}.",
)
@click.option("--tp", type=whole_type(), default=1, show_default=True, help="Ranks of that model.")
@click.option("--label", callback=parsed(parse_label), help="A name for the runs.")
@db_option
def command(
    files: tuple[Path, ...], gpu: str | None, model: str | None, tp: int, label: str | None, db: str
) -> None:
    """Import results of other tools, such as vLLM's benchmark suite.

    Each file becomes a run. Accepted are JSON and CSV of vLLM's attention benchmark suite and the
    CSV of flashinfer_benchmark.py. Their times are marked foreign wherever they are shown, and
    compared only with times of the same tool. Rows without a counterpart are listed.

    \b
    attnbench import results.json --gpu "NVIDIA H200"
    attnbench import results.csv --model deepseek-v3 --tp 8
    """
    shape = MODELS[model].sharded(tp) if model else None
    read = {path: require_results(path, read_file(path, shape)) for path in files}
    argv = ["attnbench", *sys.argv[1:]]
    with Store.open(db, note=note) as store:
        for path, file in read.items():
            run, is_new = store_file(store, file, argv=argv, label=label, gpu=gpu)
            click.echo(imported_text(path, file, run, is_new=is_new))
