"""Values for shell completion: backends, studies, and references to runs in the database."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


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
    """Labels, branches and numbers of the runs, newest first; none without a database."""
    from attnbench.db.store import Store
    from attnbench.errors import AttnbenchError

    db = ctx.params.get("db") or os.environ.get("ATTNBENCH_DB") or "attnbench.db"
    if "://" not in db and not Path(db).exists():
        return []
    try:
        with Store.open(db, create=False) as store:
            runs = store.runs()[::-1]
    except AttnbenchError:
        return []  # the command itself says what is wrong with it
    labels, branches = [run.label for run in runs], [run.branch for run in runs]
    numbers = [str(run.number) for run in runs]
    return starting(incomplete, ["latest", *filter(None, [*labels, *branches]), *numbers])


def studies(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Names of the built-in studies."""
    from attnbench.studies.request import built_in

    return starting(incomplete, built_in())


# By the field of an option.
COMPLETERS: Mapping[str, Completer] = {
    "backend": _backends,
    **dict.fromkeys(("refs", "base", "head", "resume"), _refs),
}
