"""Versions of the code under test: commits, or releases of the packages with the kernels."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attnbench.records import Run

COMMIT_DIGITS = 9  # shown of a commit
_DIRTY_DIGITS = 4  # of the hash of uncommitted changes
# Packages whose kernels are measured, then those that they build on.
_MEASURED = ("vllm", "flashinfer-python")
_BELOW = ("torch", "triton")
_PRE = {"dev": -4, "a": -3, "b": -2, "rc": -1}

Release = tuple[tuple[str, str], ...]  # packages with their versions, the measured ones first


def state_of(run: Run) -> object:
    """The key of a run's version, the same for runs of the same code.

    Without a commit it is the release of the installed packages, and without those the run.
    """
    if run.commit:
        return run.commit, run.source["dirty"]
    return release_of(run) or run.number


def release_of(run: Run) -> Release:
    """The packages that a run without a commit measured; empty unless one has kernels."""
    components: Mapping[str, Any] = run.environment["components"]  # type: ignore[assignment]
    if run.commit or not any(name in components for name in _MEASURED):
        return ()
    listed = [name for name in (*_MEASURED, *_BELOW) if name in components]
    return tuple((name, str(components[name]["version"])) for name in listed)


def version_names(runs: Sequence[Run]) -> list[str]:
    """A name for the version of each run: a short commit, a release or the run's number.

    A release is named by its first package, and by the others in which releases differ. A commit
    with several states of uncommitted changes has the first digits of their hash, too.
    """
    releases = [release for run in runs if (release := release_of(run))]
    kept = _telling(releases)
    names = [_name(run, kept) for run in runs]
    shared = {name for name, count in Counter(names).items() if count > 1}
    return [
        f"{name}{str(run.source['dirty'] or '')[:_DIRTY_DIGITS]}" if name in shared else name
        for name, run in zip(names, runs, strict=True)
    ]


def in_order_of_release(runs: Sequence[Run]) -> list[int] | None:
    """The places of the runs from the oldest release to the newest; None unless all have one."""
    releases = [release_of(run) for run in runs]
    if not all(releases):
        return None
    keys = [[(name, _number(version)) for name, version in each] for each in releases]
    return sorted(range(len(runs)), key=keys.__getitem__)


def _telling(releases: Sequence[Release]) -> list[str]:
    """The first package, and those of the next that tell releases apart that it does not."""
    kept: list[str] = []
    for name in (*_MEASURED, *_BELOW):
        longer = [*kept, name]
        if any(name in dict(each) for each in releases) and (
            not kept or len(_parts(releases, longer)) > len(_parts(releases, kept))
        ):
            kept = longer
    return kept


def _parts(releases: Sequence[Release], kept: Sequence[str]) -> set[Release]:
    return {tuple(part for part in each if part[0] in kept) for each in releases}


def _number(version: str) -> tuple[tuple[int, ...], int, int]:
    """A key that orders versions: 0.9.2 before 0.25.1rc1, and that before 0.25.1."""
    found = re.match(r"(\d+(?:\.\d+)*)[._-]?(?:(a|b|rc|dev)(\d*))?", version)
    if found is None:
        return (), 0, 0
    numbers = tuple(map(int, found[1].split(".")))
    return numbers, _PRE.get(found[2] or "", 0), int(found[3] or 0)


def _name(run: Run, kept: Sequence[str]) -> str:
    if run.commit:
        return run.commit[:COMMIT_DIGITS] + ("*" if run.source["dirty"] else "")
    parts = [f"{name} {version}" for name, version in release_of(run) if name in kept]
    return ", ".join(parts) or f"run {run.number}"
