"""Whether an SQLite file is still the one that was opened, and saving its content if not."""

import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from attnbench.errors import DatabaseLost


class OpenedFile:
    """An SQLite file that is written to.

    SQLite reports no error if its file was deleted or replaced: it continues to write to the old
    one, which vanishes when it is closed.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path, self._engine = path.absolute(), engine
        self._name, self._first = path, self.path.stat()
        self._copy: Path | None = None

    def require(self) -> None:
        """Raise DatabaseLost if the file is gone, after saving the connection's content."""
        if (how := self._lost()) is not None:
            raise DatabaseLost(f"{self._name} was {how} while it was written to; {self._saved()}")

    def _lost(self) -> str | None:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return "deleted"
        if (now.st_dev, now.st_ino) != (self._first.st_dev, self._first.st_ino):
            return "replaced by another file"
        return "truncated" if now.st_size == 0 < self._first.st_size else None

    def _saved(self) -> str:
        try:
            self._copy = self._copy or self._new_file()
            self._back_up(self._copy)
        except (OSError, sqlite3.Error) as error:
            return f"its results could not be saved ({error})"
        return (
            f"its results are saved in {self._copy}; name that file, e.g. attnbench report "
            f"--db {self._copy}; --resume continues the run there"
        )

    def _new_file(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = self.path.parent if self.path.parent.is_dir() else tempfile.mkdtemp()
        return Path(folder, f"{self.path.stem}.saved-{stamp}{self.path.suffix}")

    def _back_up(self, copy: Path) -> None:
        with closing(self._engine.raw_connection()) as pooled, closing(sqlite3.connect(copy)) as to:
            connection = pooled.driver_connection
            assert isinstance(connection, sqlite3.Connection)
            connection.backup(to)
