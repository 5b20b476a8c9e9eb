"""The code under test, as git knows it: real repositories, made and changed."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from attnbench.errors import UsageError
from attnbench.provenance import git as git_module
from attnbench.provenance.environment import own_component
from attnbench.provenance.git import GitState, ancestry, git_state, without_credentials
from attnbench.provenance.source import Source, read_source

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(path: Path, *arguments: str) -> str:
    settings = ["user.name=A", "user.email=a@b.c", "commit.gpgsign=false", "core.hooksPath="]
    options = [word for setting in settings for word in ("-c", setting)]
    command = ["git", *options, "-C", str(path), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one commit on main: kernel.py, and build/ ignored."""
    path = tmp_path / "kernels"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    (path / "kernel.py").write_text("BLOCK = 64\n")
    (path / ".gitignore").write_text("build/\n")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "--message", "Tile by 64\n\nThe body.")
    return path


def state(path: Path) -> GitState:
    found = git_state(path)
    assert found is not None
    return found


def test_a_clean_tree_is_told_whole(tree: Path) -> None:
    assert state(tree) == GitState(
        path=str(tree),
        repository="kernels",
        branch="main",
        commit=git(tree, "rev-parse", "HEAD"),
        dirty=None,
        subject="Tile by 64",
    )


def test_a_directory_within_a_tree_is_that_tree(tree: Path) -> None:
    (tree / "build").mkdir()
    assert state(tree / "build") == state(tree)


def test_a_detached_head_has_no_branch(tree: Path) -> None:
    git(tree, "checkout", "--quiet", "--detach")
    assert state(tree).branch is None
    assert state(tree).commit == git(tree, "rev-parse", "HEAD")


def test_a_worktree_has_its_own_branch_and_changes(tree: Path, tmp_path: Path) -> None:
    git(tree, "worktree", "add", "--quiet", "-b", "wider", str(tmp_path / "other"))
    (tmp_path / "other" / "kernel.py").write_text("BLOCK = 128\n")
    other = state(tmp_path / "other")
    assert (other.branch, other.path) == ("wider", str(tmp_path / "other"))
    assert other.dirty is not None
    assert state(tree).dirty is None


@pytest.mark.parametrize(
    ("name", "contents"),
    [("kernel.py", "BLOCK = 128\n"), ("new.py", "NEW = 1\n"), ("a/b c\nd.py", ""), ("é.py", "")],
)
def test_a_changed_or_an_untracked_file_makes_a_tree_dirty(
    tree: Path, name: str, contents: str
) -> None:
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text(contents)
    dirty = state(tree).dirty
    assert dirty is not None
    assert len(dirty) == 12


def test_a_deleted_and_a_staged_file_make_a_tree_dirty(tree: Path) -> None:
    (tree / "kernel.py").unlink()
    deleted = state(tree).dirty
    (tree / "kernel.py").write_text("BLOCK = 32\n")
    git(tree, "add", ".")
    assert None not in (deleted, state(tree).dirty)
    assert deleted != state(tree).dirty


@pytest.mark.parametrize("name", ["kernel.py", "new.py", "weights.bin"])
def test_unlike_changes_have_unlike_hashes(tree: Path, name: str) -> None:
    hashes = set()
    for contents in (b"\x00BLOCK = 16\n", b"\x00BLOCK = 32\n", b"\x00" * 2**21, b"\x00" * 2**22):
        (tree / name).write_bytes(contents)
        hashes.add(state(tree).dirty)
    assert len(hashes) == 4
    assert None not in hashes


def test_the_same_changes_have_the_same_hash_in_another_clone(tree: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(tree), "clone")
    hashes = set()
    for place in (tree, tmp_path / "clone"):
        (place / "kernel.py").write_text("BLOCK = 128\n")
        (place / "new.py").write_text("NEW = 1\n")
        (place / "link").symlink_to("new.py")
        hashes.add(state(place).dirty)
    assert len(hashes) == 1


def test_a_touched_file_is_no_change(tree: Path) -> None:
    (tree / "new.py").write_text("NEW = 1\n")
    before = state(tree).dirty
    os.utime(tree / "kernel.py", (1, 1))
    os.utime(tree / "new.py", (1, 1))
    assert state(tree).dirty == before


def test_an_undone_change_is_clean_again(tree: Path) -> None:
    (tree / "kernel.py").write_text("BLOCK = 128\n")
    (tree / "kernel.py").write_text("BLOCK = 64\n")
    assert state(tree).dirty is None


@pytest.mark.parametrize(
    "name",
    [
        *("attnbench.db", "attnbench.db-wal", "attnbench.db-shm", "attnbench.db.bak"),
        *("results/attnbench.db", "results/h200.db", "h200.db-wal", "build/kernel.o"),
    ],
)
def test_a_database_and_what_git_ignores_leave_a_tree_clean(tree: Path, name: str) -> None:
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_bytes(b"SQLite format 3\x00")
    assert state(tree).dirty is None


def test_a_database_under_version_control_leaves_a_tree_clean(tree: Path) -> None:
    (tree / "attnbench.db").write_bytes(b"SQLite format 3\x00")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "--message", "Results")
    (tree / "attnbench.db").write_bytes(b"SQLite format 3\x00 and more")
    assert state(tree).dirty is None


def test_a_huge_untracked_tree_is_told_by_sizes_and_times(tree: Path) -> None:
    (tree / "venv").mkdir()
    for index in range(2001):
        (tree / "venv" / str(index)).write_bytes(b"1")
    before = state(tree).dirty
    os.utime(tree / "venv" / "0", (1, 1))
    assert before is not None
    assert state(tree).dirty not in (before, None)


def test_links_pipes_and_files_without_permission_are_no_error(tree: Path) -> None:
    (tree / "loop").symlink_to("loop")
    os.mkfifo(tree / "pipe")
    (tree / "secret.py").write_text("1")
    (tree / "secret.py").chmod(0)
    assert state(tree).dirty is not None


@pytest.mark.parametrize(
    ("url", "repository"),
    [
        ("https://github.com/vllm-project/vllm.git", "https://github.com/vllm-project/vllm.git"),
        ("https://me:ghp_s3cret@github.com/me/vllm", "https://github.com/me/vllm"),
        ("https://ghp_s3cret@github.com/me/vllm", "https://github.com/me/vllm"),
        ("https://me:p@ss@git.example.org/vllm", "https://git.example.org/vllm"),
        ("ssh://git@github.com/me/vllm", "ssh://github.com/me/vllm"),
        ("git@github.com:me/vllm.git", "git@github.com:me/vllm.git"),
        ("/srv/git/vllm", "/srv/git/vllm"),
    ],
)
def test_a_repository_is_its_origin_without_credentials(
    tree: Path, url: str, repository: str
) -> None:
    git(tree, "remote", "add", "origin", url)
    assert state(tree).repository == repository


def test_text_that_is_no_url_keeps_its_at_sign() -> None:
    assert without_credentials("page 3 @ 64 KiB") == "page 3 @ 64 KiB"


def test_a_repository_without_a_commit_has_no_state(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) is None


def test_without_git_there_is_no_state(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tree))
    assert git_state(tree) is None


HANGING = """#!/bin/sh
echo "$@" >> {calls}
case "$*" in *"{word}"*) sleep 30;; esac
exec {git} "$@"
"""


@pytest.fixture
def hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A git that hangs where its command line has this word; the file has a line a call."""

    def hanging(word: str) -> Path:
        program = tmp_path / "bin" / "git"
        program.parent.mkdir()
        calls = tmp_path / "calls"
        program.write_text(HANGING.format(calls=calls, word=word, git=shutil.which("git")))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        monkeypatch.setattr(git_module, "_TIME_LIMIT", 0.5)
        monkeypatch.setattr(git_module, "_FILES_TIME_LIMIT", 0.5)
        return calls

    return hanging


def test_a_git_that_hangs_is_asked_once_and_named(
    tree: Path, hang: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = hang("")
    monkeypatch.chdir(tree)
    assert read_source() == Source("working directory: git took more than 0.5 s")
    assert len(calls.read_text().splitlines()) == 1
    with pytest.raises(UsageError, match=r"--source \S+: git took more than 0\.5 s \(try: git -C"):
        read_source(tree)
    assert ancestry(tree, ["0" * 40]) is None
    assert own_component().dirty is None


def test_changes_that_take_git_too_long_leave_the_commit_known(
    tree: Path, hang: Callable[[str], Path]
) -> None:
    commit = git(tree, "rev-parse", "HEAD")
    hang(" diff ")
    assert state(tree).commit == commit
    assert state(tree).dirty == "unknown"


def test_inside_a_git_hook_the_tree_asked_for_is_read(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "--quiet", str(tree), "clone")
    expected = state(tmp_path / "clone")
    monkeypatch.setenv("GIT_DIR", str(tree / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tree))
    assert state(tmp_path / "clone") == expected


def install_editable(site: Path, name: str, directory: Path) -> None:
    """What `pip install --editable` records of a package."""
    record = site / f"{name.replace('-', '_')}-1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    origin = {"url": directory.as_uri(), "dir_info": {"editable": True}}
    (record / "direct_url.json").write_text(json.dumps(origin))


def test_a_source_that_is_named_goes_before_all_others(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "--quiet", str(tree), "clone")
    install_editable(tmp_path / "site", "vllm", tmp_path / "clone")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path / "clone")
    source = read_source(tree)
    assert source == Source(
        "--source", "kernels", "main", source.commit, None, "Tile by 64", str(tree)
    )


@pytest.mark.parametrize("name", ["vllm", "flashinfer-python"])
def test_an_editable_install_goes_before_the_working_directory(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install_editable(tmp_path / "site", name, tree)
    monkeypatch.syspath_prepend(tmp_path / "site")
    git(tmp_path, "clone", "--quiet", str(tree), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    source = read_source()
    assert (source.origin, source.path) == (f"editable {name}", str(tree))


def test_the_working_directory_is_the_source_if_it_is_a_git_tree(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "build").mkdir()
    monkeypatch.chdir(tree / "build")
    source = read_source()
    assert (source.origin, source.path) == ("working directory", str(tree))


def test_without_any_tree_the_source_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_source() == Source("none")


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_source_that_is_no_tree_is_refused_with_an_example(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UsageError) as refusal:
        read_source(path)
    assert str(refusal.value) == (
        f"--source {path}: not in a git tree with a commit (try: git -C {path} log -1); "
        "expected a checkout of the code under test, e.g. --source ~/vllm"
    )
