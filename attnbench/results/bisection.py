"""The `git bisect run` line that finds the commit of a step."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from attnbench.analysis.steps import Step
from attnbench.errors import UsageError
from attnbench.provenance.git import commits_between, is_hash
from attnbench.results.command_line import case_command
from attnbench.results.history import History, Version
from attnbench.results.versions import COMMIT_DIGITS
from attnbench.run_label import BISECTED


def sides(history: History, step: Step) -> tuple[Version, Version]:
    """The last version before a step, and the first with it."""
    return history.versions[step.at - 1], history.versions[step.at]


def distance(before: Version, after: Version, tree: Path | None) -> int | None:
    """How many commits `after` has that `before` lacks; None if `tree` lacks either."""
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
    """The lines that find the commit of a step; empty if there is nothing to find.

    The first measures the step's own commit again: git never tests the ends that it is given, and
    of a step that was chance it would name some commit.

    `plans` holds the plan of the step's run; `db` is the database, None for the default.
    """
    before, after = sides(history, step)
    if not _has_commits_between(before, after, tree):
        return ""
    try:
        plan = plans[after.runs[0].number]
        measure = case_command(history.case, history.series.first.method, plan)
    except UsageError:
        return ""
    old, new = ((each.commit or "")[:COMMIT_DIGITS] for each in (before, after))
    script = f"sh -c {shlex.quote(_script(measure, _ref(history, before), step, db))}"
    return "\n".join(
        [
            "find the commit between them, in the tree of the code under test; it starts only if "
            "the step is still there:",
            f"git checkout -q {new} && {{ {script}; [ $? = 1 ]; }} && git bisect start {new} {old}",
            f"git bisect run {script}",
        ]
    )


def _has_commits_between(before: Version, after: Version, tree: Path | None) -> bool:
    """Whether git can look for a commit between two versions."""
    commits = (before.commit, after.commit)
    is_known = all(each is not None and is_hash(each) for each in commits)
    return is_known and before.commit != after.commit and distance(before, after, tree) != 1


def _ref(history: History, version: Version) -> str:
    """A version for `diff`: a run, if its commit was also measured with other changes on top."""
    if any(each.commit == version.commit for each in history.versions if each is not version):
        return f"run:{version.runs[-1].number}"
    return f"commit:{(version.commit or '')[:COMMIT_DIGITS]}"


def _script(measure: Sequence[str], good: str, step: Step, db: str | None) -> str:
    """Measure the checked-out commit, and compare it with `good`, the one before the step.

    The margin is half of the step: commits with it are far outside, others well within. One round
    beside other work can leave a commit undecided; it is measured up to three times then, each time
    judged by the new rounds alone. Exit status 0 is before the step, 1 after it, 125 undecided.
    """
    where = ["--db", db] if db else []
    margin = f"{100 * abs(step.ratio ** (0.5 if step.ratio > 1 else -0.5) - 1):.2f}%"
    here = '"label:$l"'
    base, head = (good, here) if step.ratio > 1 else (here, good)
    compare = shlex.join(["attnbench", "diff", "--margin", margin, *where])
    return (
        f"l={BISECTED}$(git rev-parse --short HEAD); "
        f'd() {{ {compare} --base {base} --head {head} "$@"; }}; '
        f"for i in 1 2 3; do {shlex.join([*measure, *where])} --label $l || exit 125; "
        "d --fail-on unclear && exit 0; d --fail-on slower; [ $? = 1 ] && exit 1; done; exit 125"
    )
