"""Values for shell completion: backends, studies, files, and runs in the database."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from attnbench.run_label import RECENT

if TYPE_CHECKING:
    from attnbench.records import Run

Completer = Callable[[click.Context, click.Parameter, str], list[str] | list[CompletionItem]]
DB = "attnbench.db"  # in the context: the value of a --db before the command


def starting(incomplete: str, names: Iterable[str]) -> list[str]:
    """The names that begin with the typed text, each once."""
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _backends(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    from attnbench.families import FAMILIES
    from attnbench.kernels.registry import backends

    family = ctx.command.name or ""
    names = [each.name for each in backends(family)] if family in FAMILIES else []
    return starting(incomplete, ["all", *names])


def _refs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Labels, branches and numbers of the runs, newest first."""
    runs = _runs(ctx)
    if not runs:
        return []
    labels, branches = [run.label for run in runs], [run.branch for run in runs]
    named = filter(None, [*labels, *branches])
    return starting(incomplete, [*RECENT, *named, *_numbers(runs)])


def run_numbers(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Numbers of the runs, newest first."""
    return starting(incomplete, _numbers(_runs(ctx)))


def _numbers(runs: "Iterable[Run]") -> list[str]:
    return [str(run.number) for run in runs]


def _runs(ctx: click.Context) -> "list[Run]":
    """The runs of the database, newest first; none if only the command could open it.

    A key pressed in a shell neither creates nor migrates one.
    """
    from attnbench.db.migrations import State
    from attnbench.db.origin import check_origin
    from attnbench.db.store import Store
    from attnbench.errors import AttnbenchError

    db = ctx.meta.get(DB) or ctx.params.get("db") or os.environ.get("ATTNBENCH_DB")
    try:
        if check_origin(db or "attnbench.db") is not State.CURRENT:
            return []
        with Store.open(db or "attnbench.db", create=False) as store:
            return store.runs()[::-1]
    except AttnbenchError:
        return []  # the command itself says what is wrong with it


def files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell's own completion of files."""
    return [CompletionItem(incomplete, type="file")]


def studies(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Names of the built-in studies."""
    from attnbench.studies.request import built_in

    return starting(incomplete, built_in())


# By the field of an option.
COMPLETERS: Mapping[str, Completer] = {
    "backend": _backends,
    **dict.fromkeys(("refs", "base", "head", "resume"), _refs),
    **dict.fromkeys(("db", "base_python", "head_python"), files),
}
