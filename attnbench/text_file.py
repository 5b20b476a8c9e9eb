"""Text of files that somebody else wrote, and that may have no end."""

from pathlib import Path

from attnbench.errors import UsageError

MIB = 2**20


def read_text(path: Path, most: int, encoding: str = "utf-8", newline: str | None = None) -> str:
    """The whole text of a file; UsageError if it has more than `most` characters.

    Raises OSError and UnicodeDecodeError as `Path.read_text` does.
    """
    with path.open(encoding=encoding, newline=newline) as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise UsageError(f"{path} is over {most // MIB} MiB long")
    return text
