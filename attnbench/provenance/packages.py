"""Facts of installed packages, read from their files: importing them takes seconds."""

import json
import re
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

# Files in which a package's build records its commit.
_COMMIT_FILES = {
    "torch": "torch/version.py",
    "vllm": "vllm/_version.py",
    "flashinfer-python": "flashinfer/_build_meta.py",
}
_ASSIGNED_COMMIT = re.compile(
    r"""^_*(?:git_version|git_commit|commit_id)_*\b.*=\s*['"]g?([0-9a-f]{7,40})['"]\s*$""",
    re.MULTILINE,
)
# As in 0.6.3.dev173+g36fc439d.cu128 and 3.4.0+git11ec6354.
_COMMIT_IN_VERSION = re.compile(r"\+(?:[\w.]*\.)?g(?:it)?([0-9a-f]{7,40})\b")


def installed(name: str) -> Distribution | None:
    """The distribution of that name, None if there is none.

    In a checkout's own directory Python finds its .egg-info first, which does not say that the
    package is installed from there: a record of the origin goes before one without.
    """
    found = list(distributions(name=name))
    recorded = (one for one in found if one.read_text("direct_url.json"))
    return next(recorded, found[0] if found else None)


def editable_directory(name: str) -> Path | None:
    """The directory that an editable install of `name` runs from, None for any other install."""
    distribution = installed(name)
    origin = {} if distribution is None else _origin(distribution)
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(origin["url"]).path))


def recorded_commit(name: str) -> str | None:
    """The commit, perhaps shortened, that the installed `name` was built from, if it says so."""
    if (distribution := installed(name)) is None:
        return None
    if commit := _origin(distribution).get("vcs_info", {}).get("commit_id"):
        return str(commit)
    found = _ASSIGNED_COMMIT.search(_build_facts(distribution, name))
    found = found or _COMMIT_IN_VERSION.search(distribution.version)
    return found[1] if found else None


def _origin(distribution: Distribution) -> dict[str, Any]:
    """The origin of its installation (PEP 610), empty for an index."""
    origin: dict[str, Any] = json.loads(distribution.read_text("direct_url.json") or "{}")
    return origin


def _build_facts(distribution: Distribution, name: str) -> str:
    if name not in _COMMIT_FILES:
        return ""
    return source_of(Path(str(distribution.locate_file(_COMMIT_FILES[name]))))


def source_of(module: Path) -> str:
    """The text of a Python file, whatever the locale, empty if it cannot be read."""
    try:
        return module.read_text("utf-8", errors="replace")
    except OSError:
        return ""
