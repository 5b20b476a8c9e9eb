"""The code under test, whose commit a measurement is about."""

from dataclasses import asdict, dataclass
from pathlib import Path

from attnbench.errors import UsageError
from attnbench.provenance.git import GitTooSlow, git_state
from attnbench.provenance.packages import editable_directory


@dataclass(frozen=True, slots=True)
class Source:
    """A checkout and its origin; all else is None if the origin is "none" or git was too slow."""

    origin: str  # --source, editable vllm, editable flashinfer-python, working directory, none
    repository: str | None = None  # URL without credentials, or a directory's name
    branch: str | None = None  # None when detached
    commit: str | None = None  # full hash
    dirty: str | None = None  # hash of the uncommitted changes, None if there are none
    subject: str | None = None  # of the commit
    path: str | None = None  # the tree's top directory


def read_source(path: Path | None = None) -> Source:
    """The tree at `path`, else the first origin that applies.

    Raises UsageError if `path` is given but not in a git tree with a commit.
    """
    if path is not None:
        return _named(path)
    return editable_source() or _source("working directory", Path.cwd()) or Source("none")


def editable_source() -> Source | None:
    """The checkout that vLLM or FlashInfer is installed from in this environment, if any."""
    for name in ("vllm", "flashinfer-python"):
        directory = editable_directory(name)
        if directory and (found := _source(f"editable {name}", directory)):
            return found
    return None


def _named(path: Path) -> Source:
    found = _source("--source", path)
    if found and found.commit:
        return found
    why = found.origin.partition(": ")[2] if found else "not in a git tree with a commit"
    raise UsageError(
        f"--source {path}: {why} (try: git -C {path} log -1); "
        "expected a checkout of the code under test, e.g. --source ~/vllm"
    )


def _source(origin: str, path: Path) -> Source | None:
    try:
        state = git_state(path)
    except GitTooSlow as error:
        return Source(f"{origin}: {error}")
    return None if state is None else Source(origin=origin, **asdict(state))
