"""Whatever surrounds a command, its result is measured, stored and shown."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SMALL, run_attnbench

WORDS = ["attn", *SMALL, "--backend", "naive", "--batch-specs", "q8", "--rounds", "1"]
WORDS += ["--repeats", "3"]

VARIABLES: dict[str, dict[str, str | None]] = {
    "no home, and none of its parts": {"HOME": None, "TERM": None, "PATH": "/nonexistent"},
    "folders that are not there": {
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
        "GIT_DIR": "/nonexistent",
        "LC_ALL": "xx_YY.ZZ",
        "TZ": ":::/zz",
    },
    "files in place of folders": {"TMPDIR": "/etc/passwd", "ATTNBENCH_KERNELS": "/etc/passwd"},
    "ASCII on a dumb terminal of one column": {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
        "TERM": "dumb",
        "COLUMNS": "1",
    },
    "words in place of numbers": {
        "OMP_NUM_THREADS": "many",
        "COLUMNS": "1" + "0" * 30,
        "CUDA_VISIBLE_DEVICES": "99,GPU-0",
    },
    "a strict Python": {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "PYTHONHASHSEED": "0"},
}


def stored(folder: Path) -> int:
    with sqlite3.connect(folder / "attnbench.db") as connection:
        (found,) = connection.execute(
            "select count(*) from measurement where status = 'ok'"
        ).fetchone()
    return int(found)


@pytest.mark.parametrize("surroundings", VARIABLES)
def test_variables_do_not_stand_in_the_way(
    surroundings: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    changed: dict[str, str | None] = {**environment, **VARIABLES[surroundings]}
    given = {name: value for name, value in changed.items() if value is not None}
    for words in (WORDS, ["report"]):
        found = run_attnbench(tmp_path, given, *words)
        assert found.returncode == 0, found.stderr
        assert "Traceback" not in found.stderr
        assert "naive" in found.stdout
    assert stored(tmp_path) == 1


@pytest.mark.parametrize("name", [b"-rf a\nb %s?#'$(x)", b"\xff\xfe\x1b[31m"])
def test_a_folder_may_have_any_name(name: bytes, tmp_path: Path) -> None:
    """In it the database, the page and the working directory are."""
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
    folder.mkdir()
    given = {**os.environ, "ATTNBENCH_LOCK": str(tmp_path)}
    database = str(folder / "x.db")
    for words in (WORDS, ["report", "--html", "p.html"], ["repro", "1"]):
        found = subprocess.run(
            [sys.executable, "-m", "attnbench", *words, "--db", database],
            cwd=folder,
            env=given,
            capture_output=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        assert b"\x1b" not in found.stdout + found.stderr
    assert {path.name for path in folder.iterdir()} >= {"x.db", "p.html"}


def test_what_is_written_is_as_private_as_the_user_asks(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    before = os.umask(0o077)
    try:
        assert run_attnbench(tmp_path, environment, *WORDS).returncode == 0
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("attnbench.db*")}
    assert modes == {0o600}
