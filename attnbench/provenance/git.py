"""The git state of a directory: the only module that calls git."""

import hashlib
import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TIME_LIMIT = 10.0  # seconds for a git command
_FILES_TIME_LIMIT = 20.0  # seconds for one that reads the tree's files
# Set inside git's hooks, where they would point every command at the hook's own repository.
_LOCATION_VARIABLES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
# Results are not code: a database in the tree changes with every outcome that a run stores.
_DATABASES = ("*attnbench.db*", "*.db", "*.db-wal", "*.db-shm", "*.db-journal")
_NO_DATABASES = ("--", *(f":(top,exclude){pattern}" for pattern in _DATABASES))
# A patch in which no user setting hides a change; blob ids stand for binary contents.
_PATCH = (
    *("--full-index", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv"),
    "--ignore-submodules=dirty",
)
_GITLINK = b"160000"  # the mode of a submodule
_HASH = re.compile(r"[0-9a-f]{7,64}")
# The current directory may come from anybody: nothing named in its configuration is run.
_RUN_NOTHING = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_READS_FILES = {"diff", "ls-files"}
_LARGE_FILE = 2**20  # bytes
_MANY_FILES = 2000


class GitTooSlow(Exception):
    """A git command reached its time limit: the tree is asked nothing more."""


@dataclass(frozen=True, slots=True)
class GitState:
    """The checkout of a working tree and its uncommitted changes."""

    path: str  # of the tree's top
    repository: str  # the URL of origin without credentials, else the top directory's name
    branch: str | None  # None when detached
    commit: str  # full hash
    dirty: str | None  # hash of the uncommitted changes, "unknown" if git took too long
    subject: str  # first line of the commit's message


def git_state(path: Path) -> GitState | None:
    """The state of the tree that `path` lies in.

    None without git, outside a working tree, and before the first commit. Raises GitTooSlow, except
    where only the uncommitted changes take too long.
    """
    if (found := _line(path, "rev-parse", "--show-toplevel")) is None:
        return None
    top = Path(found)
    if (commit := _line(top, "rev-parse", "HEAD")) is None:
        return None
    return GitState(
        path=found,
        repository=without_credentials(
            _line(top, "config", "--get", "remote.origin.url") or top.name
        ),
        branch=_line(top, "symbolic-ref", "--quiet", "--short", "HEAD"),
        commit=commit,
        dirty=_dirty(top),
        subject=_line(top, "log", "-1", "--no-show-signature", "--format=%s") or "",
    )


def ancestry(path: Path, commits: Iterable[str]) -> list[str] | None:
    """The commits with ancestors first; None if the tree at `path` lacks any of them."""
    wanted = dict.fromkeys(commits)
    if not all(map(is_hash, wanted)):
        return None
    order = ("rev-list", "--topo-order", "--reverse", "--end-of-options")
    listed = _quick_line(path, *order, *wanted) if wanted else ""
    return None if listed is None else [each for each in listed.split() if each in wanted]


def commits_between(path: Path, ancestor: str, commit: str) -> int | None:
    """How many commits `commit` has that `ancestor` lacks; None if the tree lacks either."""
    if not (is_hash(ancestor) and is_hash(commit)):
        return None
    span = f"{ancestor}..{commit}"
    count = _quick_line(path, "rev-list", "--count", "--end-of-options", span)
    return None if count is None else int(count)


def is_hash(commit: str) -> bool:
    """Whether it is the hash of a commit; a database may hold any text."""
    return _HASH.fullmatch(commit) is not None


def without_credentials(text: str) -> str:
    """The text without the "user:password@" of a URL; other text comes back as it is."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def _dirty(top: Path) -> str | None:
    try:
        return _uncommitted_changes(top)
    except GitTooSlow:
        return "unknown"


def _uncommitted_changes(top: Path) -> str | None:
    """A hash of the patch from HEAD and of the untracked files, None if there is neither.

    Submodules are read one by one: git itself would run the filters of their configurations.
    """
    patch = _git(top, "diff", "HEAD", *_PATCH, *_NO_DATABASES)
    listed = _git(top, "ls-files", "-z", "--others", "--exclude-standard", *_NO_DATABASES)
    if patch is None or listed is None:
        return "unknown"
    untracked = sorted(name for name in listed.split(b"\0") if name)
    below = {name: _uncommitted_changes(top / os.fsdecode(name)) for name in _submodules(top)}
    changed = {name: state for name, state in below.items() if state is not None}
    if not (patch or untracked or changed):
        return None
    digest = hashlib.sha256(patch)
    for name in untracked:
        digest.update(name + b"\0")
        digest.update(_fingerprint(top / os.fsdecode(name), len(untracked) <= _MANY_FILES))
    for name, state in changed.items():
        digest.update(name + b"\0" + state.encode())
    return digest.hexdigest()[:12]


def _submodules(top: Path) -> list[bytes]:
    """The paths of the submodules that are checked out."""
    listed = _git(top, "ls-files", "-z", "--stage") or b""
    paths = [line.partition(b"\t")[2] for line in listed.split(b"\0") if line[:6] == _GITLINK]
    return [path for path in paths if (top / os.fsdecode(path) / ".git").exists()]


def _fingerprint(path: Path, may_read: bool) -> bytes:
    """A fingerprint of an untracked file's state.

    Its contents if it may be source: a copy or a touch is not a change. Large files, and files of a
    large untracked tree, are weights, traces and builds, and reading them could take minutes. Size
    and time stand for those, which may make equal files differ but never different ones equal.
    """
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return os.fsencode(path.readlink())
        if may_read and stat.S_ISREG(status.st_mode) and status.st_size < _LARGE_FILE:
            return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b"unreadable"
    return f"{status.st_size} {status.st_mtime_ns}".encode()


def _line(path: Path, *arguments: str) -> str | None:
    output = _git(path, *arguments)
    # Only UTF-8 can be stored.
    return None if output is None else output.decode(errors="replace").rstrip("\n")


def _quick_line(path: Path, *arguments: str) -> str | None:
    try:
        return _line(path, *arguments)
    except GitTooSlow:
        return None


def _git(path: Path, *arguments: str) -> bytes | None:
    """The output of git run in `path`; None if it fails or is missing."""
    return _run(path, *_without_filters(str(path)), *arguments)


@cache
def _without_filters(path: str) -> tuple[str, ...]:
    """Settings that turn off filters configured by the repository itself."""
    scopes = ("--local", "--worktree")
    names_of = ("--includes", "--name-only", "--null", "--get-regexp", r"^filter\..*")
    listed = [_run(Path(path), "config", scope, *names_of) or b"" for scope in scopes]
    names = {os.fsdecode(name) for each in listed for name in each.split(b"\0") if name}
    filters = {name.rpartition(".")[0] for name in names}
    off = [f"{name}.{key}=" for name in sorted(filters) for key in ("clean", "process", "smudge")]
    off += [f"{name}.required=false" for name in sorted(filters)]
    return tuple(word for setting in off for word in ("-c", setting))


def _run(path: Path, *arguments: str) -> bytes | None:
    variables = {k: v for k, v in os.environ.items() if k not in _LOCATION_VARIABLES}
    try:
        process = subprocess.Popen(
            ["git", "-C", str(path), *_RUN_NOTHING, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Read only: the user may be working in the tree.
            env=variables | {"GIT_OPTIONAL_LOCKS": "0"},
            process_group=0,
        )
    except OSError:
        return None
    limit = _FILES_TIME_LIMIT if _READS_FILES.intersection(arguments) else _TIME_LIMIT
    with process:
        try:
            output, _ = process.communicate(timeout=limit)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # with what git has started
            if isinstance(error, subprocess.TimeoutExpired):
                raise GitTooSlow(f"git took more than {limit:g} s") from None
            raise
    return output if process.returncode == 0 else None
