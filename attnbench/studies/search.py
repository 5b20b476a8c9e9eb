"""Measuring a study step by step, as the search for crossovers asks for cases."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from attnbench.analysis.axes import axis_value
from attnbench.analysis.crossover import LADDER_RATIO, Rounds, next_points, points_of
from attnbench.analysis.estimate import EXACT
from attnbench.analysis.pairing import cell_between
from attnbench.analysis.series import series_of
from attnbench.records import Measurement
from attnbench.running.between import facts_for
from attnbench.running.open_run import OpenRun
from attnbench.running.script import Script, counted
from attnbench.specs.case import Case, Value, content_hash

Curve = frozenset[tuple[str, Value | None]]  # the fields that are equal along it
Sides = tuple[Case, Case]  # decode and prefill at one length
K = TypeVar("K", bound=Hashable)


def is_decode(case: Case) -> bool:
    """Whether the threshold sends every request of a case to the decode path."""
    return int(case.knob("threshold") or 0) >= case.batch.max_q_len


def curves_of(cases: Sequence[Case]) -> dict[Curve, dict[int, Sides]]:
    """Cells by curve and rising q_len; along a curve the context is fixed, or else the length."""
    return min((_curves(cases, fixed) for fixed in ("context", "kv_len")), key=len)


def _curves(cases: Sequence[Case], fixed: str) -> dict[Curve, dict[int, Sides]]:
    halves: dict[Curve, dict[int, dict[bool, Case]]] = {}
    for case in cases:
        counts = [(name, axis_value(case, name) or 0) for name in ("batch_size", fixed)]
        by_q = halves.setdefault(case.without("batch", "threshold").union(counts), {})
        by_q.setdefault(case.batch.max_q_len, {})[is_decode(case)] = case
    return {
        curve: {q: (by_q[q][True], by_q[q][False]) for q in sorted(by_q) if len(by_q[q]) == 2}
        for curve, by_q in halves.items()
    }


class Search:
    """A search for the crossover of each curve, in as few cells as possible."""

    def __init__(self, cases: Sequence[Case], rounds: int, resolution: float) -> None:
        self.curves = curves_of(cases)
        self._rounds, self._resolution = rounds, resolution
        # Hashing a case of many requests takes long.
        self._keys = {
            curve: {q: (decode.key, prefill.key) for q, (decode, prefill) in cells.items()}
            for curve, cells in self.curves.items()
        }

    def wanted(self, measurements: Iterable[Measurement]) -> list[tuple[Case, int]]:
        """The cases to measure next and their number of rounds, from the measurements so far."""
        known, broken = known_times(self._keys, measurements)
        # Paired rounds of one run have no noise beyond their own spread.
        points = points_of(known, lambda _: EXACT)
        return [
            (case, rounds)
            for curve, cells in self.curves.items()
            for q, rounds in next_points(
                list(cells), points[curve], broken[curve], self._rounds, self._resolution
            ).items()
            for case in cells[q]
        ]

    def first(self) -> tuple[Case, ...]:
        """The cases to start with: the ladder of every curve."""
        return tuple(case for case, _ in self.wanted([]))

    @property
    def expected(self) -> float:
        """Rounds of cases it will probably need: the ladders, bisections, and both ends."""
        halvings = math.log(LADDER_RATIO) / math.log(self._resolution)
        bisections = math.ceil(math.log2(max(1.0, halvings)))
        beside = (bisections + 2 * (self._rounds - 1)) * 2
        return len(self.first()) + beside * len(self.curves)

    @property
    def num_cases(self) -> int:
        """The cases of an exhaustive sweep."""
        return 2 * sum(map(len, self.curves.values()))


def known_times(
    keys: Mapping[K, Mapping[int, tuple[str, str]]], measurements: Iterable[Measurement]
) -> tuple[dict[K, dict[int, tuple[Rounds, Rounds]]], dict[K, set[int]]]:
    """The decode and prefill times of each curve by length, and the lengths that failed."""
    listed = {each.first.case_key: each for each in series_of(measurements)}
    known: dict[K, dict[int, tuple[Rounds, Rounds]]] = {}
    broken: dict[K, set[int]] = {}
    for curve, cells in keys.items():
        found = {q: [listed.get(key) for key in both] for q, both in cells.items()}
        broken[curve] = {q for q, both in found.items() if any(s and s.failures for s in both)}
        known[curve] = {
            q: (cell.base, cell.head)
            for q, (decode, prefill) in found.items()
            if decode and prefill and q not in broken[curve]
            if (cell := cell_between("", decode.times, prefill.times)).paired
        }
    return known, broken


def of_method(measurements: Iterable[Measurement], facts: Mapping[str, Value]) -> list[Measurement]:
    """The measurements by one method: a study uses only its first."""
    return [
        each
        for each in measurements
        if each.method_key == content_hash(facts_for(facts, each.case))
    ]


def search_script(run: OpenRun, search: Search) -> Script:
    """Measure step by step until the search asks for nothing more that can be measured.

    It uses only the plan's first method.
    """
    first = run.plan.methods[0].as_facts()
    while wanted := search.wanted(of_method(run.store.measurements([run.run]), first)):
        asked = [(yield from counted(run.add_cases([case for case, _ in wanted])))]
        for round_ in range(max(rounds for _, rounds in wanted)):
            cases = {case for case, rounds in wanted if rounds > round_}
            asked.append((yield from counted(run.turns(round_, cases))))
        if not any(asked):
            break
