"""Rankings as text: a row's place, the record of each contender, and a legend."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from attnbench.analysis.contrast import Contrast
from attnbench.analysis.fields import batch_text
from attnbench.analysis.ranking import Place, Ranking, RankingOutcome, Standing
from attnbench.analysis.tuning import Contender
from attnbench.analysis.verdict import Comparison
from attnbench.specs.case import Case
from attnbench.units import MISSING, change_in_percent, counted, three_digits

# Columns of contenders next to the best, by header.
BESIDE: Mapping[str, Place] = {"ties": "tie", "same work": "same work", "unclear": "unclear"}

Name = Callable[[Contender], str]
_WIDEST = 10.0  # largest upper end of an interval over its middle that is shown

_MEANINGS: Mapping[Place, str] = {
    "tie": "tie: shown to take as long as the best, within 1 % or the noise that selfcheck stored",
    "same work": "same work: another threshold that splits the batch like the best's",
    "unclear": "unclear: neither a tie nor slower can be shown from these rounds; more may decide",
    "quickest": "quickest: the least time of single rounds, which rank nothing; --rounds 3 would",
}


def place_text(standing: Standing) -> str:
    """best, tie or another place, or the time over the best's, e.g. 3.42x."""
    if standing.place in ("slower", "untested") and standing.comparison:
        return f"{three_digits(standing.comparison.ratio)}x"
    return MISSING if standing.place == "alone" else standing.place


def interval_text(standing: Standing | None) -> str:
    """The 95 % interval of the ratio to the best, e.g. "1.42 to 1.48"; of useful length only."""
    found = standing and standing.comparison
    if not found or found.low is None or found.high is None:
        return MISSING
    return useful_interval(found.low, found.ratio, found.high)


def useful_interval(low: float, middle: float, high: float) -> str:
    """E.g. "1.42 to 1.48"; a dash where rounds are too different for an interval of any use."""
    return f"{three_digits(low)} to {three_digits(high)}" if is_useful(middle, high) else MISSING


def is_useful(middle: float, high: float) -> bool:
    """Whether an interval up to `high` says anything; that of two unlike rounds may not."""
    return high <= _WIDEST * middle


def firsts(rankings: Sequence[Ranking], name: Name) -> dict[str, list[str]]:
    """The names of the best, and separately of those that are only the quickest, by header."""
    found = {}
    for header, is_quickest in (("best", False), ("quickest", True)):
        those = [(each.place == "quickest") is is_quickest for each in rankings]
        if any(those):
            pairs = zip(rankings, those, strict=True)
            found[header] = [name(each.best) if shown else MISSING for each, shown in pairs]
    return found


def legend(rankings: Sequence[Ranking]) -> list[str]:
    """A line per word in these rankings that needs an explanation."""
    standings = [each for ranking in rankings for each in ranking.standings]
    places = {each.place for each in standings}
    lines = [text for place, text in _MEANINGS.items() if place in places]
    if any(each.is_partial for each in standings):
        lines.append("vs best: if rounds failed, over the rounds in which both have a time")
    return lines


def counts(rankings: Sequence[Ranking], name: Name) -> list[str]:
    """How often each contender, by name, is the best, tied for it, unclear or the quickest."""
    tested = [r for r in rankings if r.outcome in ("won", "tied", "unclear")]
    lines = []
    if tested:
        listed = "; ".join(_record(who, found) for who, found in _records(tested, name))
        lines.append(f"best of {counted(len(tested), 'workload')}: {listed}")
    if single := [r for r in rankings if r.outcome == "untested"]:
        quickest = Counter(name(each.best) for each in single)
        listed = ", ".join(f"{who} in {count}" for who, count in quickest.most_common())
        lines.append(f"quickest in single rounds of {counted(len(single), 'workload')}: {listed}")
    return lines


def change_with_interval(found: Comparison | Contrast) -> str:
    """A ratio as a change with its 95 % interval: "+3.2 % [+2.9, +3.5]"."""
    change = f"{change_in_percent(found.ratio)} %"
    if found.low is None or found.high is None:
        return f"{change} (one round: no interval)"
    return f"{change} [{change_in_percent(found.low)}, {change_in_percent(found.high)}]"


def regret_text(regret: Comparison) -> str:
    """A loss with its 95 % interval, e.g. "+17.2 % [+14.0, +20.4]"; a gain is chance, and none."""
    if regret.ratio == 1:
        return "none"
    loss = change_with_interval(regret)
    if regret.ratio < 1:
        return f"none ({loss})"
    return loss if regret.verdict in ("slower", "same") else f"unclear ({loss})"


def regret_lines(
    regrets: Sequence[tuple[Case, Comparison | None]], best: str, needed: str
) -> list[str]:
    """How often auto loses against `best`, by how much overall, and where it loses most.

    Regrets are None where they are unknown, for want of the rounds that `needed` says.
    """
    known = [(case, regret) for case, regret in regrets if regret is not None]
    if not known:
        return [f"auto's regret is unknown: it needs rounds in which {needed}"]
    lost = [(case, regret) for case, regret in known if regret.verdict == "slower"]
    mean = math.exp(fmean(math.log(regret.ratio) for _, regret in known))
    on_the_whole = f"{change_in_percent(mean)} %" if mean > 1 else "none"
    lines = [
        f"auto is slower than {best} outside noise in {len(lost)} of {len(known)}; its regret "
        f"is {on_the_whole} in the geometric mean"
    ]
    if lost:
        case, worst = max(lost, key=lambda each: each[1].ratio)
        lines.append(f"auto loses most at {batch_text(case)}: {change_with_interval(worst)}")
    return lines


def _records(rankings: Sequence[Ranking], name: Name) -> list[tuple[str, Counter[RankingOutcome]]]:
    """By name the outcomes of workloads in which it may be the best, the most wins first."""
    found: dict[str, Counter[RankingOutcome]] = {}
    for ranking in rankings:
        for who in {name(each) for each in ranking.at("best", "tie", "unclear")}:
            found.setdefault(who, Counter())[ranking.outcome] += 1
    order: tuple[RankingOutcome, ...] = ("won", "tied", "unclear")
    return sorted(found.items(), key=lambda item: (*(-item[1][o] for o in order), item[0]))


def _record(who: str, found: Counter[RankingOutcome]) -> str:
    words: Mapping[RankingOutcome, str] = {"won": "in", "tied": "tied in", "unclear": "unclear in"}
    listed = [f"{word} {found[outcome]}" for outcome, word in words.items() if found[outcome]]
    return f"{who} {', '.join(listed)}"
