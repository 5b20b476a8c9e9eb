"""`--db FILE` before the command, as in `attnbench --db h200.db report`."""

from collections.abc import Sequence


def split_db(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The last such option with its file, empty without one, and the words from the command on.

    >>> split_db(["--db", "h200.db", "report", "-v"])
    (['--db', 'h200.db'], ['report', '-v'])
    """
    db, rest = list[str](), list(words)
    while rest and rest[0].partition("=")[0] == "--db":
        count = 1 if "=" in rest[0] else 2
        db, rest = rest[:count], rest[count:]
    return db, rest
