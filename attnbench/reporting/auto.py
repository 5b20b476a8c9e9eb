"""vLLM's own choice as text: how often it is the best, and what it loses."""

from collections import Counter
from collections.abc import Sequence

from attnbench.analysis.auto import AutoChoice, choices
from attnbench.records import SELECTED as FACT
from attnbench.reporting.ranking import regret_lines, regret_text
from attnbench.results.cohort import Cohort
from attnbench.units import MISSING, change_in_percent, counted

SELECTED, REGRET = "auto is", "auto's regret"


def choice_lines(found: Sequence[AutoChoice | None]) -> list[str]:
    """What vLLM takes by itself, how often that is slower, by how much overall, and where most."""
    known = [each for each in found if each is not None]
    if not known:
        return []
    counts = Counter(each.selected for each in known)
    regrets = [(each.ranking.best.case, each.regret) for each in known]
    taken = f"{known[0].selected} in"
    if len(counts) > 1:
        taken = ", ".join(f"{name} in {count}" for name, count in counts.most_common()) + " of"
    return [
        f"auto, which vLLM takes by itself, is {taken} {counted(len(known), 'workload')}",
        *regret_lines(regrets, "the best", "all backends have a time"),
    ]


def auto_lines(cohort: Cohort) -> list[str]:
    """The same of a table's rows; for rows of auto with nothing beside them, what it is."""
    found = choice_lines(choices(cohort.rankings, cohort.series, cohort.noise_of))
    names = dict.fromkeys(str(name) for each in cohort.timed if (name := each.resolved.get(FACT)))
    return found or [f"auto, which vLLM takes by itself, is {name} here" for name in names]


def choice_columns(found: Sequence[AutoChoice | None]) -> dict[str, list[str]]:
    """The backend that vLLM takes for each workload, and its loss; none where no row has one."""
    if not any(found):
        return {}
    return {
        SELECTED: [each.selected if each else MISSING for each in found],
        REGRET: [regret_of(each) if each else MISSING for each in found],
    }


def regret_of(choice: AutoChoice) -> str:
    """Its loss with the interval; "none" for the best."""
    if choice.contender is choice.ranking.best:
        return "none"
    return regret_text(choice.regret) if choice.regret else MISSING


def loss_in_short(choice: AutoChoice | None) -> str:
    """The loss for a cell of a map, e.g. "auto +12 %"; empty unless it is shown."""
    if choice is None or choice.regret is None or choice.regret.verdict != "slower":
        return ""
    return f"auto {change_in_percent(choice.regret.ratio)} %"
