"""Views as Parquet files, for pandas, DuckDB and whatever else reads them."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Boolean, DateTime, Float, Integer, Table, select

from attnbench.db.base import UtcTime
from attnbench.db.store import Store
from attnbench.db.views import view_table
from attnbench.errors import AttnbenchError, UsageError
from attnbench.whole_file import part_of

if TYPE_CHECKING:
    import pyarrow as pa

_OF_RUNS = ("results", "rounds", "runs_flat")  # history goes across runs
_ROWS = 10_000  # in memory at once


def write_parquet(store: Store, runs: Collection[int], folder: Path) -> dict[str, int]:
    """Write a file for each view with rows of the runs; the number of rows by the file's name.

    Files of the same name are replaced once the new one is whole. Raises UsageError without
    pyarrow, and for a folder that cannot be made; AttnbenchError if a file cannot be written.
    """
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError(
            "--parquet needs pyarrow; install it: pip install 'attnbench[data]'"
        ) from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}; --parquet writes into a folder, e.g. exported/"
        ) from None
    try:
        return {f"{name}.parquet": _write(store, runs, name, folder) for name in _OF_RUNS}
    except OSError as error:
        raise AttnbenchError(f"{folder} could not be written: {error.strerror or error}") from error


def _write(store: Store, runs: Collection[int], name: str, folder: Path) -> int:
    from pyarrow.parquet import ParquetWriter

    table = view_table(name, store.engine.dialect.name)
    schema, count = _schema(table), 0
    # Opened here: Arrow reads some paths, like a/b:c, as URIs.
    with (
        part_of(folder / f"{name}.parquet") as part,
        part.open("wb") as file,
        ParquetWriter(file, schema) as writer,
    ):
        for rows in _rows(store, table, runs):
            writer.write_batch(_batch(rows, schema))
            count += len(rows)
    return count


def _rows(store: Store, table: Table, runs: Collection[int]) -> Iterator[list[tuple[object, ...]]]:
    query = select(table).where(table.c.run.in_(runs)).execution_options(yield_per=_ROWS)
    with store.reading() as session:
        for rows in session.execute(query).partitions():
            yield [tuple(row) for row in rows]


def _batch(rows: list[tuple[object, ...]], schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa

    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema)


def _schema(table: Table) -> "pa.Schema":
    """Arrow's types of a view's columns; times are in UTC."""
    import pyarrow as pa

    types = (
        (Boolean, pa.bool_()),
        (Integer, pa.int64()),
        (Float, pa.float64()),
        ((DateTime, UtcTime), pa.timestamp("us", "UTC")),
    )

    def arrow(kind: object) -> "pa.DataType":
        return next((found for sql, found in types if isinstance(kind, sql)), pa.string())

    return pa.schema([(column.name, arrow(column.type)) for column in table.c])
