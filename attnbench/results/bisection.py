"""The `git bisect run` line that finds the commit of a step."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from attnbench.analysis.steps import Step
from attnbench.errors import UsageError
from attnbench.provenance.git import commits_between
from attnbench.results.command_line import case_command
from attnbench.results.history import History, Version

COMMIT_DIGITS = 9  # of a commit, as shown


def sides(history: History, step: Step) -> tuple[Version, Version]:
    """The last version before a step and the first that has it."""
    return history.versions[step.at - 1], history.versions[step.at]


def distance(before: Version, after: Version, tree: Path | None) -> int | None:
    """How many commits `after` has that `before` lacks; None where `tree` does not tell."""
    if tree is None or before.commit is None or after.commit is None:
        return None
    return commits_between(tree, before.commit, after.commit)


def bisection(
    history: History,
    step: Step,
    plans: Mapping[int, Mapping[str, object]],
    db: str | None,
    tree: Path | None,
) -> str:
    """The two lines that find the commit of a step; empty where there is nothing to find.

    `plans` holds that of the step's run; `db` is what commands must name, None for the default.
    """
    before, after = sides(history, step)
    if before.commit is None or after.commit is None or before.commit == after.commit:
        return ""
    if distance(before, after, tree) == 1:
        return ""
    run = after.runs[0]
    try:
        measure = case_command(history.case, history.series.first.method, plans[run.number])
    except UsageError:
        return ""
    return "\n".join(
        [
            "find the commit between them, in the tree of the code under test:",
            f"git bisect start {after.commit[:COMMIT_DIGITS]} {before.commit[:COMMIT_DIGITS]}",
            f"git bisect run sh -c {shlex.quote(_script(measure, before, step, db))}",
        ]
    )


def _script(measure: Sequence[str], before: Version, step: Step, db: str | None) -> str:
    """Measure the commit that is checked out, and compare it with the one before the step.

    Half of the step is the margin: what has it is far outside, what has it not is well within.
    Exit status 0 is before the step, 1 after it, 125 tells nothing.
    """
    where = ["--db", db] if db else []
    margin = f"{100 * abs(step.ratio ** (0.5 if step.ratio > 1 else -0.5) - 1):.2f}%"
    good, here = shlex.quote(f"commit:{(before.commit or '')[:COMMIT_DIGITS]}"), "label:$l"
    base, head = (good, here) if step.ratio > 1 else (here, good)
    compare = shlex.join(["attnbench", "diff", "--margin", margin, *where])
    return (
        f"l=bisect-$(git rev-parse --short HEAD); "
        f"{shlex.join([*measure, *where])} --label $l || exit 125; "
        f'd="{compare} --base {base} --head {head}"; '
        "$d --fail-on unclear && exit 0; $d --fail-on slower; [ $? = 1 ] && exit 1; exit 125"
    )
