"""What a site holds already, so a build computes only the cases of new, changed or deleted runs."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from attnbench._version import __version__
from attnbench.errors import UsageError
from attnbench.records import Run
from attnbench.site.entry import SiteEntry

FILE = "state.json"
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class CaseState:
    """A case that a site shows."""

    runs: Sequence[int]  # that measured it
    entries: Sequence[SiteEntry]


@dataclass(frozen=True, slots=True)
class SiteState:
    """The runs and cases of a site."""

    margin: float
    runs: Mapping[str, str] = field(default_factory=dict)  # a text by number, other once it changed
    cases: Mapping[str, CaseState] = field(default_factory=dict)  # by key

    @classmethod
    def read(cls, folder: Path, margin: float) -> Self:
        """The state of a folder; empty for a new site, another margin or another attnbench.

        Raises UsageError for a folder with other files, and for a state that cannot be read.
        """
        path = folder / FILE
        if not path.exists():
            _require_empty(folder)
            return cls(margin)
        try:
            return cls._from_facts(json.loads(path.read_text(encoding="utf-8")), margin)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(
                f"{path} is not what a site's build writes ({error}); remove {folder}, and it is "
                "built anew"
            ) from None

    @classmethod
    def _from_facts(cls, facts: Mapping[str, Any], margin: float) -> Self:
        if facts["made"] != _made(margin):
            return cls(margin)
        cases = {
            key: CaseState(each["runs"], list(map(SiteEntry.from_facts, each["entries"])))
            for key, each in facts["cases"].items()
        }
        return cls(margin, facts["runs"], cases)

    def text(self) -> str:
        """The state as its file holds it."""
        cases = {
            key: {"runs": each.runs, "entries": [entry.as_facts() for entry in each.entries]}
            for key, each in sorted(self.cases.items())
        }
        facts = {"made": _made(self.margin), "runs": self.runs, "cases": cases}
        return json.dumps(facts, separators=(",", ":"), allow_nan=False)

    def changed(self, runs: Collection[Run]) -> list[int]:
        """The runs that are new, or different from those that the site shows."""
        return [each.number for each in runs if self.runs.get(str(each.number)) != mark(each)]

    def orphaned(self, runs: Collection[Run]) -> set[str]:
        """The cases of runs that were deleted."""
        kept = {each.number for each in runs}
        return {key for key, each in self.cases.items() if not kept.issuperset(each.runs)}


def mark(run: Run) -> str:
    """A text that changes with a run's label, status and outcomes."""
    counts = " ".join(f"{status}={count}" for status, count in sorted(run.counts.items()))
    return f"{run.uuid} {run.status} {run.label or ''} {counts}"


def _made(margin: float) -> list[object]:
    return [_FORMAT, __version__, margin]


def _require_empty(folder: Path) -> None:
    files = folder.iterdir() if folder.exists() else ()
    if any(not path.name.startswith(".") for path in files):  # .git may be there
        raise UsageError(
            f"{folder} has files, but not a site's {FILE}; name a new or empty folder, or an "
            "earlier site, e.g. attnbench site public"
        )
