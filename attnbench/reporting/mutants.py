"""What the check says to planted faults, as text."""

from collections.abc import Sequence

from attnbench.analysis.fields import batch_text
from attnbench.kernels.mutants.trial import HONEST, Trial
from attnbench.reporting.text_table import Column, text_table

MOST = 1e6  # beyond, nothing was allowed
EMPTY = "Error / allowed is empty where a result is missing or has to be exact."
LATER = {
    "after timing": "after timing",
    "launched again with new": "with new inputs",
    "launched again": "launched again",
}


def mutants_text(trials: Sequence[Trial]) -> str:
    """A row for each kernel and one for each of its faults, and how many the check found."""
    columns = [
        Column("kernel, and faults in it", [_planted(each) for each in trials], left=True),
        Column("found", [_found(each) for each in trials], left=True),
        Column("error /\nallowed", [_share(each) for each in trials]),
    ]
    planted = [each for each in trials if each.fault != HONEST]
    found = sum(right(each) for each in planted)
    said = f"{found} of {len(planted)} faults found."
    alarms = sum(not right(each) for each in trials if each.fault == HONEST)
    if alarms:
        said += f" Kernels that fail without a fault: {alarms}."
    return f"{text_table(columns)}\n\n{EMPTY}\n{said}"


def right(trial: Trial) -> bool:
    """Whether the check found a fault, or passed a kernel without one."""
    return (trial.finding is None) == (trial.fault == HONEST)


def _planted(trial: Trial) -> str:
    """The kernel where it has no fault, else the fault below it."""
    if trial.fault != HONEST:
        return f"  {trial.fault}"
    return f"{trial.case.family} {trial.case.backend} {batch_text(trial.case)}"


def _found(trial: Trial) -> str:
    """When: before timing, after it, launched again or with new inputs."""
    if trial.finding is None:
        return "passes" if trial.fault == HONEST else "NOT FOUND"
    when = (name for start, name in LATER.items() if trial.finding.startswith(start))
    return next(when, "before timing")


def _share(trial: Trial) -> str:
    if not 0 < trial.share < MOST:
        return ""
    return f"{trial.share:.2f}" if trial.share < 10 else f"{trial.share:.0f}"
