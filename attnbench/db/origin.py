"""A database that runs are merged from: it stays as it is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from attnbench.db.engine import back_up, make_engine
from attnbench.db.migrations import REVISIONS, Revisions, State, read_state
from attnbench.db.store import Store
from attnbench.db.target import describe, parse_target, require_place, sqlite_file
from attnbench.errors import UsageError


def check_origin(target: str | Path, revisions: Revisions = REVISIONS) -> State:
    """The state of a database to merge from, unchanged; UsageError if it has no results."""
    url = parse_target(target)
    path = sqlite_file(url)
    if path is not None and not os.path.lexists(path):
        raise UsageError(f"{path} does not exist; expected a database to merge, e.g. other.db")
    require_place(url, create=False)
    engine = make_engine(url)
    try:
        state = read_state(engine, revisions)
    finally:
        engine.dispose()
    if state is State.EMPTY:
        raise UsageError(f"{describe(url)} holds no results to merge")
    return state


@contextmanager
def opened(target: str | Path, store: Store) -> Iterator[Store]:
    """The other database, or a migrated copy if it is a file of an older schema."""
    older = check_origin(target, store.revisions) is State.OLDER
    path = sqlite_file(parse_target(target)) if older else None
    with TemporaryDirectory() as folder:
        if path:
            target = Path(folder, path.name)
            back_up(path, target)
        with Store.open(
            target, create=False, note=lambda _: None, revisions=store.revisions
        ) as other:
            yield other
