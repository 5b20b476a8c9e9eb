"""The database that `--db` names: its URL, and its place if it is a file."""

import re
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from attnbench.errors import UsageError
from attnbench.passwords import without_password

EXPECTED = (
    "expected a path or an SQLAlchemy URL, e.g. attnbench.db or postgresql://user@host/attnbench"
)


def parse_target(target: str | Path) -> URL:
    """The URL of a path or of a URL's text; UsageError if it is malformed."""
    if "://" not in str(target):
        url = URL.create("sqlite", database=str(target))
    else:
        try:
            url = make_url(re.sub("^postgres://", "postgresql://", str(target)))
        except (ArgumentError, ValueError):
            raise UsageError(
                f"{without_password(str(target))} is not a database URL; {EXPECTED}"
            ) from None
    if url.get_backend_name() == "sqlite" and _in_memory(url):
        raise UsageError(
            f"--db '{target}' does not name a file, so results would be lost; {EXPECTED}"
        )
    return url


def _in_memory(url: URL) -> bool:
    """Whether an SQLite URL names no file."""
    if "uri" in url.query:
        of_memory = {("mode", "memory"), ("vfs", "memdb")} & set(url.query.items())
        return bool(of_memory) or ":memory:" in str(url.database)
    return url.database in {None, "", ":memory:"} and not url.host


def describe(url: URL) -> str:
    """The database's name in messages: a file's path, or the URL without its password."""
    return str(url.database) if sqlite_file(url) else url.render_as_string()


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite URL; None for a file: URI and any other database."""
    if url.get_backend_name() != "sqlite" or "uri" in url.query or not url.database:
        return None
    return Path(url.database)


def require_place(url: URL, create: bool) -> None:
    """Raise UsageError if an SQLite file does not exist or cannot be created."""
    if (path := sqlite_file(url)) is None:
        return
    try:
        path.exists()
    except (OSError, ValueError) as error:  # such as a name that is too long
        raise UsageError(f"{path}: {error}; name another file, e.g. --db attnbench.db") from None
    if not create and not path.exists():
        raise UsageError(f"{path} does not exist; {how_to_fill(url)}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a database in it, e.g. {path}/attnbench.db")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist; create it: mkdir -p {path.parent}")


def how_to_fill(url: URL) -> str:
    """The two ways to a database that holds results."""
    return f"name another with --db, or measure first: attnbench attn --db {describe(url)}"
