"""A database that runs are copied to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnbench.db.migrations import REVISIONS, Revisions
from attnbench.db.store import Store
from attnbench.db.target import parse_target, sqlite_file
from attnbench.note import Note

_log = logging.getLogger(__name__)


@contextmanager
def filled(
    target: str | Path, *, note: Note = _log.warning, revisions: Revisions = REVISIONS
) -> Iterator[Store]:
    """The database, created if missing; a new file that an error leaves without runs is removed."""
    path = sqlite_file(parse_target(target))
    new = None if path is None or path.exists() else path
    with Store.open(target, note=note, revisions=revisions) as store:
        try:
            yield store
        except BaseException:
            if new and not store.runs():
                store.close()
                new.unlink()
            raise
