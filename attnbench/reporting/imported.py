"""The import of another tool's file, as text."""

from collections.abc import Sequence
from pathlib import Path

from attnbench.errors import UsageError
from attnbench.imports.result import ForeignFile
from attnbench.reporting.text_table import items

_LISTED = 8  # rows listed in full


def require_results(path: Path, file: ForeignFile) -> ForeignFile:
    """The file; UsageError if none of its rows has a counterpart."""
    if file.results:
        return file
    lines = [f"{path}: none of its {file.num_rows} rows has a counterpart here", *_dropped(file)]
    raise UsageError("\n  ".join(lines))


def imported_text(path: Path, file: ForeignFile, run: int, *, is_new: bool) -> str:
    """The run, and the rows that were left out of a new one with the reason."""
    if not is_new:
        return items([f"{path}: imported already, as run {run}; see attnbench report --run {run}"])
    count = f"{len(file.results)} of {file.num_rows} rows"
    first = f"{path}: {count} of {file.tool} are run {run}; see attnbench report --run {run}"
    return items([first, *_dropped(file)])


def _dropped(file: ForeignFile) -> list[str]:
    return [f"not imported, {_rows(rows)}: {why}" for why, rows in file.dropped.items()]


def _rows(rows: Sequence[int]) -> str:
    if len(rows) > _LISTED:
        return f"{len(rows)} rows from {rows[0]} on"
    return f"row{'s' * (len(rows) > 1)} {', '.join(map(str, rows))}"
