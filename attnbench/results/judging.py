"""The verdicts on pairs of series, and what they rest on: noise, and the shift of the device."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from attnbench.analysis.compare import Compared, compare, compare_sides
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.pairing import Pair, cell_of
from attnbench.analysis.verdict import Comparison
from attnbench.analysis.within_round import variance_in_cycles
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
    noises = _noises(known, pairs, cells)
    apart = any(not cell.paired for cell in cells)
    models = {(p.base.first.machine_model, p.base.regime): None for p in pairs}
    source = known.source(models) if apart else ""
    if not alike:
        plain = compare(cells, lambda cell: noises[cell.key], margin)
        compared = Compared(plain, shift=None, more_scatter=False)
        return JudgedPairs(pairs, cells, noises, compared, {}, source)
    is_control = controls(*map(newest, sides))
    of_controls = {c.key for c, pair in zip(cells, pairs, strict=True) if is_control(pair)}

    def judged(cells: Sequence[Cell], noises: Mapping[str, Noise]) -> Compared:
        return compare_sides(
            cells, lambda cell: noises[cell.key], margin, lambda cell: cell.key in of_controls
        )

    compared = judged(cells, noises)
    kernels: dict[str, Comparison] = {}
    if in_cycles := _in_cycles(pairs, turns, Machine.from_facts(newest(sides[1]).machine)):
        noises = _noises(known.at_one_clock(_keys(pairs, cells, in_cycles)), pairs, cells)
        steady = judged([in_cycles.get(cell.key, cell) for cell in cells], noises)
        compared, kernels = _at_one_clock(compared, steady, in_cycles)
    return JudgedPairs(pairs, cells, noises, compared, kernels, source)


def _keys(pairs: Sequence[Pair], cells: Sequence[Cell], chosen: Collection[str]) -> set[str]:
    """What those of the cells have in every run."""
    both = zip(pairs, cells, strict=True)
    return {_key(pair) for pair, cell in both if cell.key in chosen}


def _at_one_clock(
    times: Compared, steady: Compared, in_cycles: Collection[str]
) -> tuple[Compared, dict[str, Comparison]]:
    """All cells' times as compared, and in cycles those whose clock moved, by key.

    What a clock does to some cases is no witness of what the device or noise does to the others,
    so those are judged beside their cycles.
    """
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
    cells = [
        cell_of(pair, turns, lambda series: times[id(series)], variance_in_cycles) for pair in moved
    ]
    return {cell.key: cell for cell in cells}


def _not_their_own_witness(base: Selection, head: Selection) -> set[int]:
    """The head's runs where their code is the base's: no change is judged by itself."""
    old, new = ([_code(run) for run in side.runs.values()] for side in (base, head))
    return set(head.runs) if any(code in old for code in new) else set()


def _code(run: Run) -> tuple[object, object]:
    return run.source, run.environment


def _noises(known: Noises, pairs: Sequence[Pair], cells: Sequence[Cell]) -> dict[str, Noise]:
    """What is known of each cell's noise, by its key."""
    return {cell.key: _noise(known, pair, cell) for pair, cell in zip(pairs, cells, strict=True)}


def _noise(noises: Noises, pair: Pair, cell: Cell) -> Noise:
    if pair.base.runs == pair.head.runs:  # as its report ranks them
        first = pair.base.first
        return noises(first.machine_key, first.machine_model, first.case.family, cell.stratum)
    return noises.between(pair.base, cell.stratum, _key(pair))


def _key(pair: Pair) -> str:
    return cell_key(pair.base.first.case_key, pair.base.first.method_key)
