"""The schema's revisions: a new database gets the current one, older ones are migrated.

To change a table, change its model, add the next file to `versions`, and raise `REVISIONS.head`. To
change a view, do the same with a revision that does nothing: views are made anew after revisions,
and a test holds that they are those of the head. A database of the current revision opens without
importing Alembic, which doubles the time, and the views.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import PrimaryKeyConstraint

from attnbench.db.base import Base
from attnbench.db.engine import (
    back_up,
    make_engine,
    one_at_a_time,
    plain_errors,
    use_write_ahead_log,
)
from attnbench.db.target import describe, how_to_fill, parse_target, require_place, sqlite_file
from attnbench.errors import AttnbenchError, UsageError
from attnbench.note import Note
from attnbench.shorten import few

if TYPE_CHECKING:
    from alembic.config import Config

# With its own name, another program's Alembic database is never taken for a newer attnbench.
VERSION_TABLE = Table(
    "attnbench_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="attnbench_version_pkc"),
)


@dataclass(frozen=True, slots=True)
class Revisions:
    """A folder of revisions and the id of the newest."""

    folder: Path
    head: str


REVISIONS = Revisions(Path(__file__).parent / "versions", "0008")


class State(Enum):
    """The state of a database; newer ones and other programs' are refused."""

    EMPTY = auto()
    OLDER = auto()
    CURRENT = auto()


def open_engine(target: str | Path, *, create: bool, note: Note, revisions: Revisions) -> Engine:
    """An engine on the current schema, for `Database.open`."""
    url = parse_target(target)
    require_place(url, create)
    engine = make_engine(url)
    try:
        state = read_state(engine, revisions)
        if state is State.EMPTY and not create:
            raise UsageError(f"{describe(url)} holds no results yet; {how_to_fill(url)}")
        if state is State.EMPTY:
            create_schema(engine)
        if state is State.OLDER:
            migrate(engine, revisions, note)
    except BaseException:
        engine.dispose()
        raise
    return engine


def read_state(engine: Engine, revisions: Revisions) -> State:
    """The state of a database; UsageError if this version of attnbench cannot use it."""
    with plain_errors(engine.url), engine.connect() as connection:
        return _state(connection, revisions)


def create_schema(engine: Engine) -> None:
    """Create the current tables in an empty database, unless another process just has."""
    with plain_errors(engine.url):
        if path := sqlite_file(engine.url):
            use_write_ahead_log(path)
        with engine.execution_options(writes=True).begin() as connection:
            one_at_a_time(connection, "schema")
            _create_if_empty(connection)


def _create_if_empty(connection: Connection) -> None:
    from attnbench.db.views import create_views

    if _state(connection, REVISIONS) is State.EMPTY:
        Base.metadata.create_all(connection)
        create_views(connection)
        VERSION_TABLE.create(connection)
        connection.execute(insert(VERSION_TABLE).values(version_num=REVISIONS.head))


def migrate(engine: Engine, revisions: Revisions, note: Note) -> None:
    """Bring an older database to the newest revision, after a backup, in one transaction.

    Raises AttnbenchError if a revision fails; the database is then unchanged.
    """
    # On SQLite revisions rebuild tables; with foreign keys on, dropping one deletes referring rows.
    migrating = make_engine(engine.url, foreign_keys=False).execution_options(writes=True)
    try:
        with migrating.begin() as connection:
            one_at_a_time(connection, "schema")
            if _state(connection, revisions) is State.CURRENT:
                return  # another process was first
            revision = _revision(connection)
            kept = _keep_copy(engine, revision)
            upgrade(connection, revisions)
    except DBAPIError as error:
        raise AttnbenchError(
            f"{describe(engine.url)} could not be migrated to schema {revisions.head}: "
            f"{error.orig}; it is unchanged. Use another file meanwhile, e.g. --db new.db"
        ) from error
    finally:
        migrating.dispose()
    note(f"{describe(engine.url)}: migrated from schema {revision} to {revisions.head}; {kept}")


def upgrade(connection: Connection, revisions: Revisions) -> None:
    """Run the revisions that a database lacks, all of them for an empty one.

    Views are not part of the revisions: they are made anew for the tables as they then are.
    """
    from attnbench.db.views import create_views, drop_views

    drop_views(connection)
    run_revisions(connection, revisions)
    create_views(connection)


def run_revisions(connection: Connection, revisions: Revisions) -> None:
    """Bring the tables to the newest of these revisions."""
    from alembic import command

    config = _config(revisions)
    config.attributes["connection"] = connection
    command.upgrade(config, revisions.head)


def holds_results(target: str | Path) -> bool:
    """Whether a database exists and has tables of ours; UsageError if it could not be opened."""
    url = parse_target(target)
    require_place(url, create=True)
    engine = make_engine(url)
    path = sqlite_file(url)
    if path is not None and not path.exists():
        return False
    try:
        return read_state(engine, REVISIONS) is not State.EMPTY
    finally:
        engine.dispose()


def _state(connection: Connection, revisions: Revisions) -> State:
    inspector = inspect(connection)
    if not inspector.has_table(VERSION_TABLE.name):
        if tables := inspector.get_table_names():
            raise UsageError(_foreign(connection, tables))
        return State.EMPTY
    revision = _revision(connection)
    if revision == revisions.head:
        return State.CURRENT
    if revision in _known(revisions):
        return State.OLDER
    raise UsageError(
        f"{describe(connection.engine.url)} was written by a newer attnbench: its schema is "
        f"{revision}, and this version reads up to {revisions.head}. Update attnbench (pip "
        "install --upgrade attnbench) or choose another file, e.g. --db new.db"
    )


def _foreign(connection: Connection, tables: list[str]) -> str:
    return (
        f"{describe(connection.engine.url)} is a database of another program: it holds the tables "
        f"{few(tables, 3)}; name an attnbench database or a new file, e.g. --db attnbench.db"
    )


def _revision(connection: Connection) -> str | None:
    return connection.scalar(select(VERSION_TABLE.c.version_num))


def _keep_copy(engine: Engine, revision: str | None) -> str:
    """Back up an SQLite file next to it and say where; other servers make their own backups."""
    if (path := sqlite_file(engine.url)) is None:
        return "back it up with the server's own tools"
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = path.with_name(f"{path.name}.{revision}-{stamp}.bak")
    back_up(path, copy)
    return f"the old file is kept as {copy}"


def _config(revisions: Revisions) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _literal(Path(__file__).parent))
    config.set_main_option("version_locations", _literal(revisions.folder))
    config.set_main_option("path_separator", "newline")
    return config


def _literal(path: Path) -> str:
    """The path with percent signs escaped for ConfigParser."""
    return str(path).replace("%", "%%")


def _known(revisions: Revisions) -> set[str]:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config(revisions))
    return {script.revision for script in scripts.walk_revisions()}
