"""The same cases on two GPU models: the ratio of times next to the hardware's prediction.

It does not judge the code: no case is called faster or slower.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import Noise
from attnbench.analysis.pairing import Matching, Pair, Pairing, cell_of, pair_up
from attnbench.analysis.roofline import Roofline, roofline_fraction, roofline_of
from attnbench.analysis.series import Series, series_of
from attnbench.analysis.verdict import Comparison
from attnbench.db.store import Store
from attnbench.errors import NotComparable, UsageError
from attnbench.provenance.machine import Machine
from attnbench.results.noise import Noises
from attnbench.results.possible import possible_pairs
from attnbench.results.selection import Selection, select
from attnbench.units import MISSING

_PREFIX = "gpu:"


def is_across_gpus(base_ref: str, head_ref: str) -> bool:
    """Whether both refs name a GPU model."""
    return base_ref.startswith(_PREFIX) and head_ref.startswith(_PREFIX)


@dataclass(frozen=True)
class GpuRow:
    """A case with a time on both GPUs. Ratios are of times, head over base."""

    pair: Pair
    comparison: Comparison
    fractions: tuple[float | None, float | None]  # of its roofline that each side reaches
    base: Roofline | None  # None unless all of the GPU's peaks are known
    head: Roofline | None

    @property
    def foreseen(self) -> float | None:
        """The ratio of the least times that the GPUs allow."""
        return self.head.floor / self.base.floor if self.base and self.head else None

    @property
    def bound(self) -> str:
        """The limit that sets the least time: memory or compute."""
        if not (self.base and self.head):
            return MISSING
        old, new = self.base.bound, self.head.bound
        return str(old) if old == new else f"{old} -> {new}"


@dataclass(frozen=True)
class GpuDiff:
    """The result of comparing two GPU models."""

    base: Selection
    head: Selection
    rows: Sequence[GpuRow]  # the head that falls furthest behind the prediction first
    pairing: Pairing

    @cached_property
    def machines(self) -> tuple[Machine, Machine]:
        """One machine of each model."""
        base, head = (next(iter(side.runs.values())) for side in (self.base, self.head))
        return Machine.from_facts(base.machine), Machine.from_facts(head.machine)


def diff_gpus(store: Store, base_ref: str, head_ref: str, *, pool: bool = False) -> GpuDiff:
    """Compare the common cases of two GPUs, by the newest run of each or all if pooled.

    Raises UsageError for a ref to several models, and NotComparable without a common case.
    """
    base = select(store, base_ref, pool, option="--base")
    head = select(store, head_ref, pool, option="--head")
    models = _one_model(base), _one_model(head)
    if models[0] == models[1]:
        raise UsageError(
            f"--base {base_ref} and --head {head_ref} name the same GPU model; name another, or "
            "compare runs of it, e.g. --base 1 --head 2"
        )
    sides = series_of(base.measurements), series_of(head.measurements)
    pairing = possible_pairs(store, pair_up(*sides, matching=Matching(across_machines=True)))
    whole = [pair for pair in pairing.pairs if not (pair.base.failures or pair.head.failures)]
    if not whole:
        raise NotComparable(
            f"nothing to compare: no case has a time with the same method and cache state on "
            f"{base_ref} and {head_ref}; measure both with the same options"
        )
    found = GpuDiff(base, head, [], pairing)
    rows = [
        _row(pair, comparison, found.machines)
        for pair, comparison in zip(whole, _comparisons(store, whole), strict=True)
    ]
    rows.sort(key=lambda row: -row.comparison.ratio / (row.foreseen or 1.0))
    return GpuDiff(base, head, rows, pairing)


def _one_model(side: Selection) -> str:
    names = {each.machine_model: each.machine_name for each in side.measurements}
    if len(names) > 1:
        raise UsageError(
            f"{side.ref} names {len(names)} models: {', '.join(sorted(names.values()))}; give "
            "more of the name, e.g. 'gpu:H100 PCIe'"
        )
    return next(iter(names))


def _comparisons(store: Store, pairs: Sequence[Pair]) -> list[Comparison]:
    # That the cards differ is what is asked.
    cells = [replace(cell_of(pair, {}), same_device=True) for pair in pairs]
    noises_of = Noises(store)
    noises = {
        cell.key: _larger(
            *(noises_of.between(side, cell.stratum) for side in (pair.base, pair.head))
        )
        for cell, pair in zip(cells, pairs, strict=True)
    }
    return compare(cells, lambda cell: noises[cell.key])


def _larger(one: Noise, other: Noise) -> Noise:
    return max(one, other, key=lambda noise: noise.session.value)


def _row(pair: Pair, comparison: Comparison, machines: tuple[Machine, Machine]) -> GpuRow:
    sides = list(zip((pair.base, pair.head), machines, strict=True))
    limits = [_limit(series, machine) for series, machine in sides]
    base, head = (roofline_fraction(series, machine) for series, machine in sides)
    return GpuRow(pair, comparison, (base, head), *limits)


def _limit(series: Series, machine: Machine) -> Roofline | None:
    limit = roofline_of(series, machine)
    return limit if limit is not None and limit.bound is not None else None
