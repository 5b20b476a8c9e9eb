"""The verdicts on pairs of series, and what they rest on: noise, and the shift of the device."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from attnbench.analysis.compare import Compared, compare, compare_sides
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.pairing import Pair, cell_of
from attnbench.analysis.verdict import Comparison
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from attnbench.records import Run
from attnbench.results.controls import controls
from attnbench.results.cycles import at_one_clock, by_clock
from attnbench.results.noise import Noises, cell_key, turns_of
from attnbench.results.selection import Selection, newest


@dataclass(frozen=True, slots=True)
class JudgedPairs:
    """Pairs with times on both sides, each with its cell, noise and verdict."""

    pairs: Sequence[Pair]
    cells: Sequence[Cell]
    noises: Mapping[str, Noise]  # by the key of the cell
    compared: Compared
    kernels: Mapping[str, Comparison]  # by the key of the cell: in cycles, where clocks moved
    noise_source: str  # for a person; empty where all rounds were interleaved


def judge_pairs(
    store: Store,
    pairs: Sequence[Pair],
    margin: float,
    sides: tuple[Selection, Selection],
    *,
    alike: bool,
) -> JudgedPairs:
    """The verdict on each pair; `alike` if the sides are one piece of code before and after."""
    turns = turns_of(store, {run for p in pairs for run in (*p.base.runs, *p.head.runs)})
    cells = [cell_of(pair, turns) for pair in pairs]
    known = Noises(store, without=_not_their_own_witness(*sides))
    noises = {cell.key: _noise(known, pair, cell) for cell, pair in zip(cells, pairs, strict=True)}
    kernels: dict[str, Comparison] = {}
    if alike:
        is_control = controls(*map(newest, sides))
        of_controls = {c.key for c, pair in zip(cells, pairs, strict=True) if is_control(pair)}
        in_cycles = _in_cycles(pairs, turns, Machine.from_facts(newest(sides[1]).machine))

        def judged(cells: Sequence[Cell]) -> Compared:
            return compare_sides(
                cells, lambda cell: noises[cell.key], margin, lambda cell: cell.key in of_controls
            )

        compared, kernels = _at_one_clock(cells, in_cycles, judged)
    else:
        plain = compare(cells, lambda cell: noises[cell.key], margin)
        compared = Compared(plain, shift=None, more_scatter=False)
    apart = any(not cell.paired for cell in cells)
    source = (
        known.source({(p.base.first.machine_model, p.base.regime): None for p in pairs})
        if apart
        else ""
    )
    return JudgedPairs(pairs, cells, noises, compared, kernels, source)


def _at_one_clock(
    cells: Sequence[Cell],
    in_cycles: Mapping[str, Cell],
    judged: Callable[[Sequence[Cell]], Compared],
) -> tuple[Compared, dict[str, Comparison]]:
    """All cells' times as compared, and in cycles those whose clock moved, by key.

    What a clock does to some cases is no witness of what the device or noise does to the others,
    so those are judged beside their cycles.
    """
    times = judged(cells)
    if not in_cycles:
        return times, {}
    steady = judged([in_cycles.get(cell.key, cell) for cell in cells])
    both = zip(times.comparisons, steady.comparisons, strict=True)
    comparisons = [time if time.key in in_cycles else other for time, other in both]
    kernels = {each.key: each for each in steady.comparisons if each.key in in_cycles}
    return replace(steady, comparisons=comparisons), kernels


def _in_cycles(
    pairs: Sequence[Pair], turns: Mapping[int, str], machine: Machine
) -> dict[str, Cell]:
    """The cells whose clock moved, as they would be at one clock, by key."""
    moved = [pair for pair in pairs if by_clock(pair, machine)]
    times = at_one_clock(moved)
    cells = [cell_of(pair, turns, lambda series: times[id(series)]) for pair in moved]
    return {cell.key: cell for cell in cells}


def _not_their_own_witness(base: Selection, head: Selection) -> set[int]:
    """The head's runs where their code is the base's: no change is judged by itself."""
    old, new = ([_code(run) for run in side.runs.values()] for side in (base, head))
    return set(head.runs) if any(code in old for code in new) else set()


def _code(run: Run) -> tuple[object, object]:
    return run.source, run.environment


def _noise(noises: Noises, pair: Pair, cell: Cell) -> Noise:
    first = pair.base.first
    return noises.between(
        first.machine_key,
        first.machine_model,
        first.case.family,
        cell.stratum,
        cell_key(first.case_key, first.method_key),
        pair.base.regime,
    )
