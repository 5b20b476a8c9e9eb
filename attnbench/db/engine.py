"""Engines: SQLite with real transactions, or any other database that SQLAlchemy supports."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    NoResultFound,
    NoSuchModuleError,
    ProgrammingError,
)

from attnbench.db.damage import Damaged
from attnbench.db.target import EXPECTED, describe, sqlite_file
from attnbench.errors import DatabaseUnusable, UsageError
from attnbench.shorten import shorten

BUSY_TIMEOUT = 30.0  # seconds that a transaction waits for another process
# Of PostgreSQL; "attn" in ASCII and the next, which no other program locks in the same database.
_LOCKS = {"schema": 0x6174746E, "merge": 0x6174746F}


def make_engine(url: URL, *, foreign_keys: bool = True) -> Engine:
    """An engine whose transactions include DDL; UsageError if its driver is missing.

    The execution option `writes=True` takes SQLite's write lock when a transaction begins: after
    a read, it would fail instead of waiting for another writer.
    """
    is_sqlite = url.get_backend_name() == "sqlite"
    try:
        engine = _read_only(url) or create_engine(
            url, connect_args={"timeout": BUSY_TIMEOUT} if is_sqlite else {}
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise UsageError(
            f"{describe(url)}: SQLAlchemy cannot use {url.drivername} here ({error}); install its "
            "driver, e.g. pip install 'attnbench[postgresql]' for postgresql://"
        ) from None
    except ArgumentError as error:
        raise UsageError(f"{describe(url)} is not a database URL ({error}); {EXPECTED}") from None
    event.listen(engine, "handle_error", _name_database)
    if is_sqlite:
        _begin_explicitly(engine, foreign_keys)
    return engine


def _name_database(context: ExceptionContext) -> None:
    """Note in an error whose it is: a merge has two databases open."""
    if context.engine is not None and context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.add_detail(describe(context.engine.url))


def _read_only(url: URL) -> Engine | None:
    """An engine for a file in a read-only folder, where SQLite's own way of reading fails."""
    path = sqlite_file(url)
    if path is None or not path.exists() or os.access(path.parent, os.W_OK):
        return None
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return None  # immutable would read the file without its log
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return create_engine(url, creator=lambda: sqlite3.connect(uri, uri=True))


def _begin_explicitly(engine: Engine, foreign_keys: bool) -> None:
    """Keep Python's sqlite3 from ending transactions at DDL, as it does by default."""

    def connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)


def one_at_a_time(connection: Connection, what: Literal["schema", "merge"]) -> None:
    """Let one process at a time do that in a database, until its transaction ends.

    SQLite's own lock on writing does it; PostgreSQL would let two create the same table or run.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCKS[what]})")


def use_write_ahead_log(path: Path) -> None:
    """Let a new SQLite file be read while one process writes; a setting stored in the file."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait for another process here.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def back_up(path: Path, copy: Path) -> None:
    """Copy an SQLite database, including its write-ahead log."""
    with closing(sqlite3.connect(path)) as origin, closing(sqlite3.connect(copy)) as target:
        origin.backup(target)


@contextmanager
def plain_errors(url: URL) -> Iterator[None]:
    """Turn what a user can fix (not a database, locked, read-only, full) into DatabaseUnusable.

    UsageError for content that is damaged.
    """
    try:
        yield
    except (Damaged, JSONDecodeError, UnicodeDecodeError, NoResultFound) as error:
        raise UsageError(
            f"{describe(url)} is damaged ({shorten(str(error), 200)}); use a copy of it, or let "
            "SQLite save what it can: sqlite3 FILE .recover"
        ) from error
    except (DatabaseError, sqlite3.OperationalError) as error:
        if isinstance(error, IntegrityError | ProgrammingError | DataError):
            raise  # a mistake of ours
        reason = str(error.orig if isinstance(error, DatabaseError) else error).strip()
        named = error.detail[0] if isinstance(error, DatabaseError) and error.detail else None
        raise DatabaseUnusable(_unusable(named or describe(url), reason)) from error


def _unusable(name: str, reason: str) -> str:
    """What is wrong with a database; the first line of a reason, as servers give several."""
    expected = (
        "a server that answers and has this user and database, e.g. --db "
        "postgresql://user@host/attnbench"
        if "://" in name and not name.startswith("sqlite")
        else "a readable and writable attnbench database or a new file, e.g. --db attnbench.db"
    )
    first, _, _ = reason.partition("\n")
    return f"{name}: {first}; expected {expected}"
