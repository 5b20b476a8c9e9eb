"""An open database and its transactions."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from attnbench.db.engine import plain_errors
from attnbench.db.migrations import REVISIONS, Revisions, open_engine
from attnbench.db.opened_file import OpenedFile
from attnbench.db.target import sqlite_file
from attnbench.note import Note

_log = logging.getLogger(__name__)


class Database:
    """A file or another database on the current schema; a context manager that closes it."""

    def __init__(self, engine: Engine, revisions: Revisions) -> None:
        self.engine, self.revisions = engine, revisions
        path = sqlite_file(engine.url)
        self._file = None if path is None else OpenedFile(path, engine)
        self._reading = sessionmaker(engine, expire_on_commit=False)
        self._writing = sessionmaker(engine.execution_options(writes=True), expire_on_commit=False)

    @classmethod
    def open(
        cls,
        target: str | Path,
        create: bool = True,
        *,
        note: Note = _log.warning,
        revisions: Revisions = REVISIONS,
    ) -> Self:
        """Open a file or a database URL; create it if missing, migrate it if older.

        Raises UsageError for a newer or another program's database; for a missing one unless
        `create`.
        """
        return cls(open_engine(target, create=create, note=note, revisions=revisions), revisions)

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for any other database."""
        return None if self._file is None else self._file.path

    def close(self) -> None:
        """Close the connections; an SQLite file then needs no write-ahead log."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that never waits on SQLite; only for `attnbench.db`."""
        with plain_errors(self.engine.url), self._reading.begin() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that first waits for other writers; only for `attnbench.db`.

        Raises DatabaseLost if the SQLite file is no longer the one that was opened.
        """
        with plain_errors(self.engine.url), self._writing.begin() as session:
            yield session
        if self._file is not None:
            self._file.require()
