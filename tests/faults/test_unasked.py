"""Nothing runs, is shown or is overwritten that nobody asked for."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.commands.output_file import output_file
from attnbench.db import transfer
from attnbench.db.models import RunRow
from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.passwords import without_password
from attnbench.provenance.git import ancestry, commits_between, git_state
from tests.conftest import Attnbench
from tests.stored_results import CPU, ENVIRONMENT, NO_OPTIONS, PLAN, SOURCE, fill, start
from tests.test_history import FLAT, SLOW
from tests.test_history import fill as fill_history

URL = "postgresql://u:s3cr3t@host/db"


def git(tree: Path, *words: str) -> str:
    settings = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", *settings, "-C", str(tree), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one commit, whose file is changed."""
    tree = tmp_path / "tree"
    tree.mkdir()
    git(tree, "init", "--quiet")
    (tree / "kernel.py").write_text("BLOCK = 64\n")
    (tree / ".gitattributes").write_text("*.py filter=hostile diff=hostile\n")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "--message", "First")
    (tree / "kernel.py").write_text("BLOCK = 65\n")
    return tree


@pytest.mark.parametrize(
    "setting",
    [
        "core.fsmonitor",
        "filter.hostile.clean",
        "filter.hostile.process",
        "diff.hostile.command",
        "diff.hostile.textconv",
        "core.pager",
    ],
)
@pytest.mark.parametrize("included", [False, True])
def test_no_program_of_a_repositorys_configuration_is_run(
    setting: str, included: bool, tree: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\ncat\n")
    program.chmod(0o755)
    if included:
        git(tree, "config", "include.path", str(tmp_path / "more"))
        git(tree, "config", "--file", str(tmp_path / "more"), setting, str(program))
    else:
        git(tree, "config", setting, str(program))
    found = git_state(tree)
    assert found is not None
    assert found.dirty not in {None, "unknown"}
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", ["core.fsmonitor", "filter.hostile.clean"])
def test_no_program_of_a_submodules_configuration_is_run_and_its_changes_are_seen(
    setting: str, tree: Path, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tree), "lib")
    git(outer, "commit", "--quiet", "--message", "First")
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\ncat\n")
    program.chmod(0o755)
    states = []
    for block in ("", "BLOCK = 96\n", "BLOCK = 128\n"):
        if block:
            (outer / "lib" / "kernel.py").write_text(block)
        git(outer / "lib", "config", setting, str(program))
        found = git_state(outer)
        assert found is not None
        states.append(found.dirty)
    assert not (tmp_path / "run").exists()
    assert states[0] is None
    assert len(set(states)) == 3


def test_a_stored_commit_is_not_an_option_of_git(tree: Path) -> None:
    victim = tree / "victim"
    victim.write_text("kept")
    head = git(tree, "rev-parse", "HEAD")
    for stored in (f"--output={victim}", "HEAD", "a" * 8 + "\n--all"):
        assert ancestry(tree, [head, stored]) is None
        assert commits_between(tree, stored, head) is None
        assert commits_between(tree, head, stored) is None
    assert victim.read_text() == "kept"
    assert ancestry(tree, [head]) == [head]
    assert commits_between(tree, head, head) == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (URL, "postgresql://u:***@host/db"),
        ("X=postgresql://u:p@ss@host/db", "X=postgresql://u:***@host/db"),
        ("postgresql://host/db?user=u&password=p", "postgresql://host/db?user=u&password=***"),
        ("postgresql://u@host/db", "postgresql://u@host/db"),
        ("results/a:b@c.db", "results/a:b@c.db"),
    ],
)
def test_a_password_is_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_a_bisection_is_quoted_for_the_shell(tmp_path: Path) -> None:
    """Its script is run with an attnbench that only writes down its words."""
    db = tmp_path / "a b $(touch run) 'c'.db"
    fill_history(db, FLAT, FLAT, SLOW, SLOW)
    found = CliRunner().invoke(cli, ["history", "--db", str(db), "--where", "backend=sdpa"])
    (line,) = [each for each in found.output.splitlines() if each.startswith("git bisect run ")]
    program = tmp_path / "attnbench"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/words\n')
    program.chmod(0o755)
    paths = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(shlex.split(line)[3:], env=paths, cwd=tmp_path, check=False)
    assert str(db) in (tmp_path / "words").read_text().splitlines()
    assert not (tmp_path / "run").exists()


def test_a_password_is_neither_stored_nor_read_nor_carried_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db") as store:
        run = store.start_run(
            command="attn",
            argv=["attnbench", "attn", "--db", URL],
            label=None,
            options=NO_OPTIONS,
            plan=PLAN,
            machine=CPU,
            environment=ENVIRONMENT,
            source=SOURCE,
        )
        assert "s3cr3t" not in str(store.run(run).argv)
        assert not any(b"s3cr3t" in path.read_bytes() for path in tmp_path.iterdir())
        with store.writing() as session:
            session.get_one(RunRow, run).argv = ["attnbench", "attn", "--db", URL]
        assert "s3cr3t" not in str(store.run(run).argv)
        transfer.export(store, [run], str(tmp_path / "b.db"))
    assert b"s3cr3t" not in (tmp_path / "b.db").read_bytes()


def test_a_page_for_a_device_leaves_it_a_device(attnbench: Attnbench, tmp_path: Path) -> None:
    with Store.open(tmp_path / "attnbench.db") as store:
        fill(store, start(store))
    full = attnbench("report", "--html", "/dev/full")
    assert full.returncode == 1
    assert full.stderr == "Error: /dev/full could not be written: No space left on device\n"
    assert Path("/dev/full").is_char_device()


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("yesterday's")
    full = pytest.raises(AttnbenchError, match="could not be written: No space left")
    with full, output_file(page) as file:
        file.write("half")
        raise OSError(28, "No space left on device")
    assert page.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [page]


def test_a_link_to_a_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "page")
    with output_file(tmp_path / "link") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "page").read_text() == "new"
