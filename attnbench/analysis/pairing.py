"""Which series of two sides may be compared, and which of their rounds belong together.

Never is one compared with another kind of time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnbench.analysis.estimate import Cell
from attnbench.analysis.series import Series


@dataclass(frozen=True, slots=True)
class Pair:
    """The same case on both sides."""

    base: Series
    head: Series


@dataclass(frozen=True, slots=True)
class Pairing:
    """Every series of two sides stands in it once."""

    pairs: Sequence[Pair]  # equal in case, method, machine model and, if timed, cache state
    mismatches: Sequence[tuple[Pair, str]]  # equal cases, with what forbids to compare them
    only_base: Sequence[Series]
    only_head: Sequence[Series]


def pair_up(base: Sequence[Series], head: Sequence[Series]) -> Pairing:
    """Pairs in the order of the base; what finds no partner with its method is told apart."""
    partners = {series.key: series for series in head}
    matched = [Pair(each, partners.pop(each.key)) for each in base if each.key in partners]
    taken = {pair.base.key for pair in matched}
    lonely = [each for each in base if each.key not in taken]
    pairs = [pair for pair in matched if not _cache_mismatch(pair)]
    mismatches = [(pair, text) for pair in matched if (text := _cache_mismatch(pair))]
    near, only_base, only_head = _nearly_paired(lonely, list(partners.values()))
    return Pairing(pairs, [*mismatches, *near], only_base, only_head)


def cell_of(pair: Pair, turns: Mapping[int, str]) -> Cell:
    """What of a pair with times on both sides is compared.

    That is all rounds; of interleaved sides those alone that both have, the i-th with the i-th.
    turns has by its number each run that took turns with others: with those of the same mark.
    """
    key = "/".join((*pair.base.key, *pair.head.key))
    base, head = _by_round(pair.base), _by_round(pair.head)
    shared = sorted(base.keys() & head.keys())
    if not (shared and _interleaved(pair, turns)):
        return Cell(key, pair.base.medians, pair.head.medians, paired=False)
    return Cell(key, tuple(base[r] for r in shared), tuple(head[r] for r in shared), paired=True)


def _by_round(series: Series) -> dict[int, float]:
    return {each.round: each.median for each in series.timed if each.median is not None}


def _interleaved(pair: Pair, turns: Mapping[int, str]) -> bool:
    """Whether both sides are of one run, or of two that took turns with each other."""
    if len(pair.base.runs) > 1 or len(pair.head.runs) > 1:
        return False
    (base,), (head,) = pair.base.runs, pair.head.runs
    return base == head or (base in turns and turns[base] == turns.get(head))


def _nearly_paired(
    base: Sequence[Series], head: Sequence[Series]
) -> tuple[list[tuple[Pair, str]], list[Series], list[Series]]:
    """Equal cases with another method or machine model, then what is left on each side."""
    left: dict[str, list[Series]] = defaultdict(list)
    for each in head:
        left[each.first.case_key].append(each)
    found, only_base = [], []
    for each in base:
        if others := left[each.first.case_key]:
            pair = Pair(each, others.pop(0))
            found.append((pair, _difference(pair)))
        else:
            only_base.append(each)
    return found, only_base, [each for others in left.values() for each in others]


def _cache_mismatch(pair: Pair) -> str:
    """What differs if both sides have a time; empty if nothing does."""
    before, after = pair.base.cache_state, pair.head.cache_state
    return f"cache {before} -> {after}" if before and after and before != after else ""


def _difference(pair: Pair) -> str:
    old, new = pair.base.first, pair.head.first
    texts = [
        f"{name} {old.method.get(name, 'unset')} -> {new.method.get(name, 'unset')}"
        for name in dict.fromkeys((*old.method, *new.method))
        if old.method.get(name) != new.method.get(name)
    ]
    if old.machine_name != new.machine_name:
        texts.append(f"{old.machine_name} -> {new.machine_name}")
    elif old.machine_model != new.machine_model:
        texts.append(f"two models of {old.machine_name}")
    return ", ".join(texts)
