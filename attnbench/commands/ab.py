"""`attnbench ab`."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from attnbench.commands.diff_options import DiffOptions, show_and_exit
from attnbench.commands.family_request import read_request
from attnbench.commands.measuring import command_line, show_forecast, show_runs
from attnbench.commands.note import note
from attnbench.commands.table import table_command
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.note import Note
from attnbench.options.kinds import Listed, Parsed
from attnbench.options.option import one, several
from attnbench.results.diff import diff
from attnbench.run_label import parse_label
from attnbench.running.builds import Build, alternately, without_secrets
from attnbench.running.request import MeasuringRequest


def _program(text: str) -> Path:
    if found := shutil.which(text):
        return Path(found).absolute()
    raise UsageError(
        f"'{text}' is not an executable file; expected the Python of an environment, e.g. "
        "venv/bin/python"
    )


def _variables(texts: Sequence[str], _: Note) -> tuple[tuple[str, str], ...]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"'{text}' is not NAME=VALUE, e.g. VLLM_X=1")
        found[name] = value
    return tuple(found.items())


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The two environments, and the labels of their runs."""

    base_python: Path = one(
        Parsed(_program),
        "--base-python",
        default=sys.executable,
        show_default=False,
        metavar="PATH",
        help="Python that measures base.  [default: this one]",
    )
    base_env: tuple[tuple[str, str], ...] = several(
        Listed(_variables),
        "--base-env",
        metavar="NAME=VALUE...",
        help="Environment variables for base only.",
    )
    base_label: str = one(
        Parsed(parse_label), "--base-label", default="base", help="A name for its run."
    )
    head_python: Path = one(
        Parsed(_program),
        "--head-python",
        default=sys.executable,
        show_default=False,
        metavar="PATH",
        help="Python that measures head.  [default: this one]",
    )
    head_env: tuple[tuple[str, str], ...] = several(
        Listed(_variables),
        "--head-env",
        metavar="NAME=VALUE...",
        help="Environment variables for head only.",
    )
    head_label: str = one(
        Parsed(parse_label), "--head-label", default="head", help="A name for its run."
    )

    def builds(self) -> tuple[Build, Build]:
        """Both, base first."""
        return (
            Build("base", self.base_label, self.base_python, dict(self.base_env)),
            Build("head", self.head_label, self.head_python, dict(self.head_env)),
        )


HELP = """Measure two builds alternately on one device, and compare them.

    Rounds alternate between the two environments in the order A B B A, each in a fresh worker, so
    drift of the device affects both alike. Both run the code of this attnbench. Each side is stored
    as its own run; their diff follows, with its exit status. With several GPUs (`--device all`)
    each measures both sides of some workloads. COMMAND's own options, --db too, follow it.

    \b
    attnbench ab --base-python main/bin/python --head-python pr/bin/python \\
        -- mla --backend flashmla --rounds 5
    attnbench ab --head-env VLLM_BATCH_INVARIANT=1 -- attn --backend flash
    attnbench ab --head-env VLLM_BATCH_INVARIANT=1 -- attn --resume
    """


def _run(sides: Sides, options: DiffOptions, measured: Sequence[str]) -> None:
    family, *words = measured
    if family not in FAMILIES:
        raise UsageError(
            f"ab measures with {', '.join(FAMILIES)}, not '{family}', e.g. attnbench ab -- attn"
        )
    request = read_request(FAMILIES[family], family, words)
    if request.measuring.dry_run:
        show_forecast(request, sides=2)
    _refuse_of_one_run(request)
    builds = sides.builds()
    argv = without_secrets(command_line(), builds)
    command = replace(request.command(argv), name="ab")
    outcomes = alternately(command, builds, request.plan_for(note), note)
    runs = show_runs(outcomes, 2, _RESUME, is_resumed=command.resume is not None)
    with Store.open(command.db, create=False, note=note) as store:
        found = diff(store, *(f"run:{run.run}" for run in runs), margin=options.margin)
    show_and_exit(found, options)


def _refuse_of_one_run(request: MeasuringRequest) -> None:
    for named in request.named.values():
        if named.option.of_one_run:
            raise UsageError(
                f"{named.typed} applies to one run, and ab makes two: {_INSTEAD[named.option.name]}"
            )


_RESUME = "continue with the same command and --resume as its last word"
_EXPORT = "export them with `attnbench report`"
_INSTEAD = {
    "label": "name them with --base-label and --head-label",
    "output-csv": _EXPORT,
    "output-json": _EXPORT,
    "save-csv": _EXPORT,
}


command = table_command(
    "ab",
    Sides,
    DiffOptions,
    help=HELP,
    run=_run,
    params=[
        click.Argument(
            ["measured"], nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND"
        )
    ],
    context_settings={"allow_interspersed_args": False},
)
