"""Plans: the cases of a run and their order, enough to resume it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from random import Random
from typing import Any, Self

from attnbench.provenance.machine import Machine
from attnbench.running.between import for_case
from attnbench.specs.case import Case
from attnbench.timing.method import Method


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a worker may take before it is ended."""

    prepare: float = 600.0  # a JIT compilation can take minutes
    measure: float = 60.0  # check and time one round


@dataclass(frozen=True, slots=True)
class Plan:
    """The cases of one command and how to measure them."""

    cases: tuple[Case, ...]
    methods: tuple[Method, ...]
    rounds: int = 3
    seed: int = 0  # of round 0; the others count up
    num_layers: int | None = None  # working sets, None for the smallest number that is cold
    profile_memory: bool = False
    host: bool = False  # also time the host's side of a call
    limits: Limits = field(default_factory=Limits)
    interleaved: str | None = None  # the mark shared by interleaved runs
    study: Mapping[str, Any] | None = None  # a study's file and choices, JSON

    @property
    def num_places(self) -> int:
        """Outcomes of a round, at most: two methods may be one for some cases."""
        return len(self.cases) * len(self.methods)

    def methods_of(self, case: Case) -> tuple[Method, ...]:
        """The methods by which a case is timed, each once."""
        return tuple(dict.fromkeys(for_case(method, case) for method in self.methods))

    def order(self, round_: int) -> Iterator[tuple[int, Case, Method]]:
        """Positions, cases and methods of a round; positions count through all rounds.

        The implementations of a workload are in ABBA order. Methods that trace come last, since
        later ones would need another worker.
        """
        first = round_ * self.num_places
        for position, (case, method) in enumerate(self._within(backwards=round_ % 2 == 1), first):
            yield position, case, method

    def places(self, parity: int) -> dict[Case, list[tuple[int, Method]]]:
        """By case, its places within a round and the method at each; odd rounds have parity 1."""
        found: dict[Case, list[tuple[int, Method]]] = {}
        for place, (case, method) in enumerate(self._within(backwards=parity == 1)):
            found.setdefault(case, []).append((place, method))
        return found

    def _within(self, *, backwards: bool) -> Iterator[tuple[Case, Method]]:
        for traces in (False, True):
            for _, group in groupby(self.cases, key=lambda case: case.workload_key):
                variants = [
                    (case, method)
                    for case in group
                    for method in self.methods_of(case)
                    if method.traces is traces
                ]
                yield from reversed(variants) if backwards else variants

    def isolated(self) -> Self:
        """The plan with a fresh worker for each round."""
        methods = tuple(replace(method, isolate="rounds") for method in self.methods)
        return replace(self, methods=methods)

    def shuffled(self, seed: int) -> Self:
        """The plan with its workloads, and the implementations of each, in a random order."""
        random, groups = Random(seed), dict[str, list[Case]]()
        for case in self.cases:
            groups.setdefault(case.workload_key, []).append(case)
        listed = random.sample(list(groups.values()), len(groups))
        cases = (case for group in listed for case in random.sample(group, len(group)))
        return replace(self, cases=tuple(cases))

    def as_facts(self) -> dict[str, Any]:
        """JSON that `from_facts` reads back."""
        return {
            "cases": [case.canonical() for case in self.cases],
            "methods": [method.as_facts() for method in self.methods],
            "rounds": self.rounds,
            "seed": self.seed,
            "num_layers": self.num_layers,
            "profile_memory": self.profile_memory,
            "host": self.host,
            "prepare_limit": self.limits.prepare,
            "measure_limit": self.limits.measure,
            "interleaved": self.interleaved,
            "study": self.study,
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of `as_facts`."""
        return cls(
            cases=tuple(map(Case.from_canonical, facts["cases"])),
            methods=tuple(map(Method.from_facts, facts["methods"])),
            rounds=facts["rounds"],
            seed=facts["seed"],
            num_layers=facts["num_layers"],
            profile_memory=facts["profile_memory"],
            host=facts["host"],
            limits=Limits(prepare=facts["prepare_limit"], measure=facts["measure_limit"]),
            interleaved=facts.get("interleaved"),
            study=facts.get("study"),
        )


PlanFor = Callable[[Machine], Plan]


def by_workload(cases: list[Case]) -> tuple[Case, ...]:
    """The cases without repeats, with the implementations of a workload together."""
    groups: dict[str, dict[Case, None]] = {}
    for case in cases:
        groups.setdefault(case.workload_key, {})[case] = None
    return tuple(case for group in groups.values() for case in group)
