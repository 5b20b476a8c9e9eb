"""vLLM's own choice as text: how often it is the best, and what it loses."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from attnbench.analysis.auto import SELECTED as FACT
from attnbench.analysis.auto import AutoChoice, choices
from attnbench.analysis.fields import batch_text
from attnbench.reporting.ranking import change_with_interval, regret_text, workloads
from attnbench.results.cohort import Cohort
from attnbench.units import MISSING, change_in_percent

SELECTED, REGRET = "auto is", "auto's regret"


def choice_lines(found: Sequence[AutoChoice | None]) -> list[str]:
    """What vLLM takes by itself, how often that is slower, by how much overall, and where most."""
    known = [each for each in found if each is not None]
    if not known:
        return []
    counts = Counter(each.selected for each in known)
    taken = f"{known[0].selected} in"
    if len(counts) > 1:
        taken = ", ".join(f"{name} in {count}" for name, count in counts.most_common()) + " of"
    return [
        f"auto, which vLLM takes by itself, is {taken} {workloads(len(known))}",
        *_lost(known),
    ]


def auto_lines(cohort: Cohort) -> list[str]:
    """The same of a table's rows; for rows of auto with nothing beside them, what it is."""
    found = choice_lines(choices(cohort.rankings, cohort.series, cohort.noise_of))
    names = dict.fromkeys(str(name) for each in cohort.timed if (name := each.resolved.get(FACT)))
    return found or [f"auto, which vLLM takes by itself, is {name} here" for name in names]


def _lost(known: Sequence[AutoChoice]) -> list[str]:
    judged = [(each, each.regret) for each in known if each.regret is not None]
    if not judged:
        return ["auto's regret is unknown: it needs rounds in which all backends have a time"]
    lost = [(each, regret) for each, regret in judged if regret.verdict == "slower"]
    mean = math.exp(fmean(math.log(regret.ratio) for _, regret in judged))
    on_the_whole = f"{change_in_percent(mean)} %" if mean > 1 else "none"
    lines = [
        f"auto is slower than the best outside noise in {len(lost)} of {len(judged)}; its regret "
        f"is {on_the_whole} in the geometric mean"
    ]
    if lost:
        worst, regret = max(lost, key=lambda pair: pair[1].ratio)
        where = batch_text(worst.ranking.best.case)
        lines.append(f"auto loses most at {where}: {change_with_interval(regret)}")
    return lines


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
