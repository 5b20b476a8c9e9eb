"""The answer of results in a sentence per kind of batch: who is best, where, by how much."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attnbench.analysis.fields import Fields
from attnbench.analysis.ranking import Ranking, RankingOutcome
from attnbench.reporting.html.sweeps import Dims, dims_of, size_text
from attnbench.reporting.html.workloads import kind_of
from attnbench.reporting.ranking import Name
from attnbench.units import counted, three_digits

_FEW = 3  # winners that a sentence names, or one more if that is all
_LEVEL = "1.00"  # a ratio of times that is no lead
_LEAST = 2  # workloads that a range describes
_OTHERS: Mapping[RankingOutcome, str] = {
    "tied": "tied in",
    "unclear": "unclear in",
    "alone": "one implementation only in",
}


def answer(rankings: Sequence[Ranking], fields: Fields, name: Name) -> list[str]:
    """A sentence per kind of batch, the kind with the most workloads first."""
    by_kind: dict[str, list[Ranking]] = defaultdict(list)
    for each in rankings:
        by_kind[kind_of(each.best.series)].append(each)
    listed = sorted(by_kind.items(), key=lambda item: -len(item[1]))
    return [f"{kind.capitalize()}: {_sentence(found, fields, name)}." for kind, found in listed]


def _sentence(rankings: Sequence[Ranking], fields: Fields, name: Name) -> str:
    count = len(rankings)
    if all(each.outcome == "alone" for each in rankings):
        return f"{counted(count, 'workload')} of one implementation, so nothing to compare"
    parts = [
        *_winners(rankings, fields, "won", name),
        *_winners(rankings, fields, "untested", name),
    ]
    for outcome, words in _OTHERS.items():
        if number := sum(each.outcome == outcome for each in rankings):
            parts.append(f"{words} {number}{_among(rankings, outcome, name)}")
    return "; ".join(parts)


def _winners(
    rankings: Sequence[Ranking], fields: Fields, outcome: RankingOutcome, name: Name
) -> list[str]:
    """The implementations that win most, each with its part, its range and its leads."""
    won: dict[str, list[Ranking]] = defaultdict(list)
    for each in rankings:
        if each.outcome == outcome:
            won[name(each.best)].append(each)
    listed = sorted(won.items(), key=lambda item: -len(item[1]))
    shown = _FEW if len(listed) > _FEW + 1 else len(listed)
    texts = [
        f"{who} {'quickest in single rounds of' if outcome == 'untested' else 'in'} "
        f"{len(found)} of {len(rankings)}{_where(found, rankings, fields)}{_leads(found)}"
        for who, found in listed[:shown]
    ]
    rest = sum(len(found) for _, found in listed[shown:])
    return [*texts, f"others in {rest}"] if rest else texts


def _leads(found: Sequence[Ranking]) -> str:
    ratios = [e.next.comparison.ratio for e in found if e.next and e.next.comparison]
    if not ratios:
        return ""
    low, high = three_digits(min(ratios)), three_digits(max(ratios))
    if high == _LEVEL:
        return ", level"
    if low == _LEVEL:
        return f", up to {high}x ahead"
    return f", {low}x ahead" if low == high else f", {low}x to {high}x ahead"


def _where(found: Sequence[Ranking], among: Sequence[Ranking], fields: Fields) -> str:
    """The range of one quantity that holds exactly these workloads; empty if none does."""
    if len(found) < _LEAST or len(found) == len(among):
        return ""
    inside = [dims_of(each.best.case, fields) for each in found]
    outside = [dims_of(e.best.case, fields) for e in among if not any(e is f for f in found)]
    for name in inside[0]:
        if text := _range(name, inside, outside):
            return f" ({text})"
    return ""


def _range(name: str, inside: Sequence[Dims], outside: Sequence[Dims]) -> str:
    ours, others = ([each.get(name) for each in listed] for listed in (inside, outside))
    mine = [value for value in ours if isinstance(value, int)]
    theirs = [value for value in others if isinstance(value, int)]
    if len(mine) < len(ours) or len(theirs) < len(others) or name == "context":
        return ""
    if max(mine) < min(theirs):
        return f"{name} up to {size_text(max(mine))}"
    return f"{name} from {size_text(min(mine))}" if min(mine) > max(theirs) else ""


def _among(rankings: Sequence[Ranking], outcome: RankingOutcome, name: Name) -> str:
    """Those who share the best place in all workloads of an outcome, if they are the same."""
    names = {
        tuple(sorted({name(c) for c in each.at("best", "tie", "unclear")}))
        for each in rankings
        if each.outcome == outcome
    }
    (first, *others) = names
    return f" ({', '.join(first)})" if first and not others else ""
