"""Write the outputs that pages show again, from a stored database: `make docs`.

A block of text right below a command with `--db h200_studies.db` holds what that command prints.
"""

import lzma
import re
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory

from click.testing import CliRunner

from attnbench.cli import cli

DOCS = Path(__file__).parent.parent / "docs"
PAGES = (DOCS / "guide" / "read-a-table.md",)

_STORED = DOCS / "results" / "h200_studies.db.xz"
_EXAMPLE = re.compile(
    rf"( {{4}}attnbench ([^\n]*) --db {_STORED.stem}\n\n```text\n).*?(```)", re.DOTALL
)
_WIDTH = "100"


def rewritten(page: str) -> str:
    """The text of a page with the outputs that its commands have now."""
    with TemporaryDirectory() as folder:
        database = Path(folder) / _STORED.stem
        database.write_bytes(lzma.decompress(_STORED.read_bytes()))
        return _EXAMPLE.sub(lambda m: m[1] + _output(m[2], database) + m[3], page)


def _output(arguments: str, database: Path) -> str:
    words = [*shlex.split(arguments), "--db", str(database)]
    result = CliRunner().invoke(cli, words, env={"COLUMNS": _WIDTH}, catch_exceptions=False)
    if result.exit_code != 0:
        raise SystemExit(f"attnbench {arguments}: {result.output}")
    return result.stdout


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
