"""Pairing the series of two sides, and their rounds.

Times of different kinds are never compared.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from attnbench.analysis.across import (
    BETWEEN,
    SERVER_KNOBS,
    Across,
    field_of,
    field_text,
    method_but,
    same_server,
)
from attnbench.analysis.estimate import Cell
from attnbench.analysis.fields import setting_text
from attnbench.analysis.partners import partners
from attnbench.analysis.series import Series, Times
from attnbench.analysis.within_round import variance_by_samples
from attnbench.timing.method import layer_version

# Another family or batch is a different question, not a difference to report.
_NO_NEIGHBOURS = ("family", "batch")
_BOTH = "--across between compares them; --between nothing layer measures both"


@dataclass(frozen=True, slots=True)
class Pair:
    """The same case on both sides."""

    base: Series
    head: Series


@dataclass(frozen=True, slots=True)
class Pairing:
    """The pairs of two sides and the rest; it holds every series once."""

    pairs: Sequence[Pair]  # equal as the matching demands and, if timed, in the state of the device
    mismatches: Sequence[tuple[Pair, str]]  # near pairs, with the reason not to compare them
    only_base: Sequence[Series]
    only_head: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Matching:
    """Exceptions to what compared series must share: case, method and machine model."""

    across: Across | None = None  # a field in which they differ in exactly this way
    across_machines: bool = False  # whether the machine models may differ

    def sides(
        self, base: Sequence[Series], head: Sequence[Series]
    ) -> tuple[Sequence[Series], Sequence[Series]]:
        """The series of each side to compare."""
        if (across := self.across) is None:
            return base, head
        return (
            [each for each in base if field_of(each, across.field) == across.base],
            [each for each in head if field_of(each, across.field) == across.head],
        )

    @property
    def keys(self) -> tuple[Callable[[Series], Hashable], ...]:
        """`key`; across backends also without the knobs that only one of two may have."""
        if self.across is None or self.across.field != "backend":
            return (self.key,)
        return self.key, lambda series: self.key(series, *SERVER_KNOBS)

    def same_server(self, base: Series, head: Series) -> bool:
        """Whether their servers' knobs are equal if both have them."""
        field = "" if self.across is None else self.across.field
        return same_server(base.case, head.case, field)

    def case(self, series: Series, *but: str) -> Hashable:
        """The key that cases must share, without the fields `but`."""
        across = self.across
        names = but if across is None or across.of_method else (*but, across.field)
        return series.case.without(*names) if names else series.first.case_key

    def key(self, series: Series, *but: str) -> Hashable:
        """The key that series must share, without the fields `but` of the case."""
        model = "" if self.across_machines else series.first.machine_model
        field = "" if self.across is None else self.across.field
        return self.case(series, *but), method_but(series, field), model


def pair_up(
    base: Sequence[Series], head: Sequence[Series], *, matching: Matching | None = None
) -> Pairing:
    """Pairs in the order of the base; series without a partner of the same method are separate."""
    matching = matching or Matching()
    base, head = matching.sides(base, head)
    found = partners(base, head[::-1], matching.keys, matching.same_server)
    matched = [Pair(each, found[id(each)]) for each in base if id(each) in found]
    pairs = [pair for pair in matched if not _mismatch(pair)]
    mismatches = [(pair, text) for pair in matched if (text := _mismatch(pair))]
    taken = set(map(id, found.values()))
    lonely = [each for each in base if id(each) not in found]
    left = [each for each in head if id(each) not in taken]
    near, lonely, left = _nearly_paired(lonely, left, matching)
    neighbours, lonely, left = _neighbours(lonely, left, matching)
    return Pairing(pairs, [*mismatches, *near, *neighbours], lonely, left)


def cell_of(
    pair: Pair,
    turns: Mapping[int, str],
    times: Callable[[Series], Times] = attrgetter("times"),
    by_samples: Callable[[Series], float] = variance_by_samples,
) -> Cell:
    """The cell of a pair with times on both sides.

    `turns` has the marks of interleaved runs by number: runs with one mark were one session.
    `times` gives a series' times or other seconds, `by_samples` their variance by their samples.
    """
    key = "/".join((*pair.base.key, *pair.head.key))
    sides = (pair.base, pair.head)
    cell = cell_between(key, *(_in_turns(each, times(each), turns) for each in sides))
    cards = [{each.machine_key for each in side.timed} for side in sides]
    return replace(
        cell,
        same_device=cards[0] == cards[1],
        by_samples=(by_samples(pair.base), by_samples(pair.head)),
    )


def cell_between(key: str, base: Times, head: Times) -> Cell:
    """The common rounds, matched, of two sides in one session; else all rounds of both.

    Rounds of one session were interleaved: an influence on a round affects both sides.
    """
    shared = sorted(base.keys() & head.keys(), key=lambda at: at[1])
    if not shared or len({session for session, _ in (*base, *head)}) > 1:
        sides = tuple(base.values()), tuple(head.values())
        counts = [len({session for session, _ in side}) for side in (base, head)]
        return Cell(key, *sides, paired=False, sessions=(counts[0], counts[1]))
    return Cell(key, tuple(base[r] for r in shared), tuple(head[r] for r in shared), paired=True)


def _in_turns(series: Series, times: Times, turns: Mapping[int, str]) -> Times:
    """The times of a series, by the mark of its run if it is of one interleaved run."""
    if len(series.runs) > 1:
        return times
    run = series.first.run
    return {(turns.get(run, run), n): time for (_, n), time in times.items()}


def _nearly_paired(
    base: Sequence[Series], head: Sequence[Series], matching: Matching
) -> tuple[list[tuple[Pair, str]], list[Series], list[Series]]:
    """Equal cases with another method or machine model, then the rest of each side."""
    left: dict[Hashable, list[Series]] = defaultdict(list)
    for each in head:
        left[matching.case(each)].append(each)
    found, only_base = [], []
    for each in base:
        if others := left[matching.case(each)]:
            pair = Pair(each, others.pop(0))
            found.append((pair, _difference(pair)))
        else:
            only_base.append(each)
    return found, only_base, [each for others in left.values() for each in others]


def _neighbours(
    base: Sequence[Series], head: Sequence[Series], matching: Matching
) -> tuple[list[tuple[Pair, str]], list[Series], list[Series]]:
    """Cases that differ in only one more field, then the rest of each side."""
    found = list[tuple[Pair, str]]()
    for name in dict.fromkeys(name for each in (*base, *head) for name in each.case.canonical()):
        if name in _NO_NEIGHBOURS:
            continue
        partners = {matching.key(each, name): each for each in reversed(head)}
        only_base, taken = list[Series](), set[int]()
        for each in base:
            if (other := partners.pop(matching.key(each, name), None)) is None:
                only_base.append(each)
            else:
                old, new = (field_text(side.case.fields().get(name)) for side in (each, other))
                found.append((Pair(each, other), f"{name} {old} -> {new}"))
                taken.add(id(other))
        base, head = only_base, [each for each in head if id(each) not in taken]
    return found, list(base), list(head)


def _mismatch(pair: Pair) -> str:
    """Differences in the device's state if both sides have a time; empty if there are none.

    Other work, or another device, may need another regime.
    """
    states = [("cache", pair.base.cache_state, pair.head.cache_state)]
    if pair.base.first.workload_key == pair.head.first.workload_key and _is_one_model(pair):
        states.append(("regime", pair.base.regime, pair.head.regime))
    return ", ".join(
        f"{name} {before} -> {after}"
        for name, before, after in states
        if before and after and before != after
    )


def _is_one_model(pair: Pair) -> bool:
    return pair.base.first.machine_model == pair.head.first.machine_model


def _difference(pair: Pair) -> str:
    old, new = pair.base.first, pair.head.first
    unlike = dict.fromkeys((*old.method, *new.method))
    texts = [
        f"{name} {setting_text(old.method, name)} -> {setting_text(new.method, name)}"
        for name in unlike
        if name != "layer_version" and old.method.get(name) != new.method.get(name)
    ]
    layers = [layer_version(each.method) for each in (old, new)]
    if None not in layers and layers[0] != layers[1]:
        texts.append(f"layer method {layers[0]} -> {layers[1]}")
    if old.machine_name != new.machine_name:
        texts.append(f"{old.machine_name} -> {new.machine_name}")
    elif old.machine_model != new.machine_model:
        texts.append(f"two models of {old.machine_name}")
    betweens = {setting_text(each.method, BETWEEN) for each in (old, new)}
    hint = f" ({_BOTH})" if len(betweens) > 1 else ""
    return ", ".join(texts) + hint
