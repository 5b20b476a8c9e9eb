"""The result of a sweep over a knob: a line per batch."""

from collections.abc import Sequence

from attnbench.analysis.fields import batch_text
from attnbench.analysis.optimum import Optimum, optima
from attnbench.analysis.ranking import AUTO, Place, Standing
from attnbench.analysis.tuning import Setting
from attnbench.reporting.ranking import regret_text
from attnbench.results.cohort import Cohort
from attnbench.units import seconds_column, three_digits

# The name of its best value, by knob.
KNOBS = {"threshold": "threshold", "num_splits": "splits"}
MOST = 12  # batches whose lines are not too many for a table
_BEHIND: tuple[Place, ...] = ("slower", "unclear", "untested")


def choice_lines(cohort: Cohort, *, is_short: bool = False) -> list[str]:
    """For each swept knob the best value per batch, and auto's regret; if short, of few batches."""
    lines = list[str]()
    for knob, name in KNOBS.items():
        if any(each.case.knob(knob) is not None for each in cohort.right):
            found = [_line(each, name) for each in optima(cohort.right, knob, cohort.noise_of)]
            more = f"the best {name} of each of {len(found)} batches: attnbench report -v"
            lines += [more] if is_short and len(found) > MOST else found
    return lines


def setting_text(setting: Setting) -> str:
    """The value of the knob that is set, auto if left to the backend."""
    return str(setting[0][1]) if setting else "auto"


def _line(found: Optimum, name: str) -> str:
    unit, (time,) = seconds_column([found.ranking.best.seconds])
    top = f"{found.ranking.place} {name} {setting_text(found.best)} ({time} {unit})"
    parts = [f"{found.case.backend} {batch_text(found.case)}: {top}"]
    if ties := found.at("tie"):
        parts.append(f"tied with {_listed(ties)}")
    if alike := found.at("same work"):
        parts.append(f"the same work as {_listed(alike)}")
    behind = [
        _behind(setting, standing)
        for setting, standing in found.standings.items()
        if standing.place in _BEHIND and (setting != AUTO or found.regret is None)
    ]
    text = "; ".join([", ".join(parts), *([", ".join(behind)] if behind else [])])
    return text if found.regret is None else f"{text}; auto's regret {regret_text(found.regret)}"


def _behind(setting: Setting, standing: Standing) -> str:
    ratio = f"{three_digits(standing.comparison.ratio)}x" if standing.comparison else ""
    if standing.place == "unclear":
        return f"{setting_text(setting)} unclear at {ratio}"
    return f"{setting_text(setting)} takes {ratio}"


def _listed(settings: Sequence[Setting]) -> str:
    return ", ".join(map(setting_text, settings))
