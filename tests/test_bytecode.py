"""Bytecode is kept for later processes where Python itself would keep none."""

import os
import py_compile
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from attnbench.running.process import _BOOT

CODE = Path(__file__).parents[1]
FORBIDDEN = {"PYTHONDONTWRITEBYTECODE": "1"}
IMPORTED = """
from attnbench.bytecode import keep_bytecode
keep_bytecode()
import sys, vllm
print(sys.pycache_prefix)
"""
COMMAND = "import sys; sys.argv[1:] = ['runs']; from attnbench.cli import main; main()"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A vllm as an installer that does not compile leaves it."""
    source = tmp_path / "site" / "vllm" / "__init__.py"
    source.parent.mkdir(parents=True)
    source.write_text("VALUE = 1\n")
    return source


def python(
    code: str, library: Path, variables: Mapping[str, str], *words: str, flag: str = "-P"
) -> str:
    """Run code that finds the library and attnbench; its output."""
    site, temporary = library.parents[1], library.parents[2]
    usual = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env = {**usual, "PYTHONPATH": f"{site}:{CODE}", "TMPDIR": str(temporary), **variables}
    line = [sys.executable, flag, "-c", code, *words]
    return subprocess.run(line, env=env, capture_output=True, text=True, check=False).stdout


def imported(library: Path, variables: Mapping[str, str]) -> str:
    """Import it alone, without what is installed here; the folder of bytecode or None."""
    return python(IMPORTED, library, variables, flag="-S").strip()


def folder(library: Path) -> Path:
    return library.parents[2] / f"attnbench-bytecode-{os.getuid()}"


def kept(library: Path, module: str) -> bool:
    """Whether bytecode of a module is in attnbench's folder."""
    return any(folder(library).rglob(f"{module}.*.pyc"))


def test_where_python_may_keep_none_it_is_kept_in_a_folder_of_the_user_alone(
    library: Path,
) -> None:
    assert imported(library, FORBIDDEN) == str(folder(library))
    (compiled,) = folder(library).rglob("vllm/__init__.*.pyc")
    assert folder(library).stat().st_mode & 0o777 == 0o700
    assert not (library.parent / "__pycache__").exists()
    before = compiled.stat().st_mtime_ns
    imported(library, FORBIDDEN)
    assert compiled.stat().st_mtime_ns == before  # read, not compiled again
    library.write_text("VALUE = 12\n")
    imported(library, FORBIDDEN)
    assert compiled.stat().st_mtime_ns != before


def test_commands_and_workers_keep_it(library: Path) -> None:
    python(COMMAND, library, FORBIDDEN)
    assert kept(library, "runs")
    assert not kept(library, "worker")
    nobody = ["-1", "0", "cpu"]  # the worker ends as its parent is gone
    python(_BOOT, library, FORBIDDEN, str(CODE), *nobody)
    assert kept(library, "worker")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to every folder")
def test_it_is_kept_where_the_libraries_folder_is_read_only(library: Path) -> None:
    library.parent.chmod(0o500)
    imported(library, {})
    assert kept(library, "__init__")


@pytest.mark.parametrize("forbidden", [{}, FORBIDDEN], ids=["allowed", "forbidden"])
def test_it_is_kept_in_the_folder_that_the_user_names(
    library: Path, forbidden: Mapping[str, str]
) -> None:
    named = library.parents[2] / "named"
    assert imported(library, {**forbidden, "PYTHONPYCACHEPREFIX": str(named)}) == str(named)
    (compiled,) = named.rglob("vllm/__init__.*.pyc")
    assert not folder(library).exists()
    library.write_text("VALUE = 12\n")
    before = compiled.stat().st_mtime_ns
    imported(library, {**forbidden, "PYTHONPYCACHEPREFIX": str(named)})
    assert compiled.stat().st_mtime_ns != before


def compile_it(library: Path) -> None:
    py_compile.compile(str(library))


def open_to_others(library: Path) -> None:
    folder(library).mkdir()
    folder(library).chmod(0o777)


def give_away(library: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives a folder to another user")
    folder(library).mkdir()
    os.chown(folder(library), 1000, 1000)


def lead_elsewhere(library: Path) -> None:
    elsewhere = library.parents[2] / "elsewhere"
    elsewhere.mkdir(0o700)
    folder(library).symlink_to(elsewhere)


def put_a_file(library: Path) -> None:
    folder(library).write_text("")


def leave(library: Path) -> None:
    """As it is."""


@pytest.mark.parametrize(
    ("prepare", "variables"),
    [
        pytest.param(leave, {}, id="Python may keep it itself"),
        pytest.param(compile_it, FORBIDDEN, id="the installer compiled the libraries"),
        pytest.param(open_to_others, FORBIDDEN, id="others can write to the folder"),
        pytest.param(give_away, FORBIDDEN, id="the folder is another user's"),
        pytest.param(lead_elsewhere, FORBIDDEN, id="the folder is a link"),
        pytest.param(put_a_file, FORBIDDEN, id="a file in place of the folder"),
    ],
)
def test_else_python_does_as_it_does(
    library: Path, prepare: Callable[[Path], None], variables: Mapping[str, str]
) -> None:
    prepare(library)
    assert imported(library, variables) == "None"
