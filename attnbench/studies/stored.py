"""The study of a stored run."""

from collections.abc import Mapping
from typing import Any

from attnbench.db.store import Store
from attnbench.errors import UsageError


def stored_study(store: Store, run: int) -> Mapping[str, Any]:
    """A study's name, text and overrides; UsageError for a run of another command."""
    facts: Mapping[str, Any] | None = store.plan(run).get("study")
    if not facts:
        command = store.run(run).command
        raise UsageError(
            f"run {run} is a run of `{command}`, not of a study; `attnbench runs` lists all"
        )
    return facts
