"""Output files of commands: complete or not written at all."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from attnbench.commands.note import note
from attnbench.errors import AttnbenchError, UsageError
from attnbench.whole_file import part_of

# Bytes of a file's name that are not UTF-8 stand in a command line as surrogates.
_ERRORS = "backslashreplace"
_SQLITE = b"SQLite format 3\0"


@contextmanager
def output_file(path: Path) -> Iterator[TextIO]:
    """A text file that replaces `path` once complete; a device or pipe is written to directly.

    A note says when it is. Raises AttnbenchError if it cannot be written; `path` is then unchanged.
    """
    if is_database(path):
        raise AttnbenchError(f"{path} is a database, and stays as it is; name another file")
    try:
        if path.exists() and not (path.is_file() and os.access(path.resolve().parent, os.W_OK)):
            with path.open("w", newline="", encoding="utf-8", errors=_ERRORS) as file:
                yield file
        else:
            with (
                part_of(path.resolve()) as part,
                part.open("x", newline="", encoding="utf-8", errors=_ERRORS) as file,
            ):
                yield file
        note(f"wrote {path}")
    except OSError as error:
        raise AttnbenchError(f"{path} could not be written: {error.strerror or error}") from error


def not_read_from(source: Path, written: Mapping[str, Path | None]) -> None:
    """UsageError if an option's file is the one that the command reads, and would be replaced."""
    for option, path in written.items():
        if path is not None and path.exists() and path.samefile(source):
            raise UsageError(f"{option} {path}: that is the file to read; name another to write")


def is_database(path: Path) -> bool:
    """Whether it is an SQLite file, which no table or page may replace."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False
