"""What verdicts rest on beside the rounds: the noise of sessions, and which runs took turns.

It comes from what is there, the nearest first, each moderated by the next: runs of equal code on
this machine (`selfcheck` makes them), a noise stored without its runs, the table that comes with
attnbench. A diff adds what its own cells show.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from statistics import geometric_mean
from typing import Self

from attnbench.analysis.estimate import Noise
from attnbench.analysis.machine_noise import TABLE_DF, MachineNoise
from attnbench.analysis.noise_table import ANY_GPU, noise_table
from attnbench.analysis.repeats import Repeat, between_cards
from attnbench.analysis.series import Series
from attnbench.db.repeats import RepeatedRounds, SessionRow
from attnbench.db.store import Store
from attnbench.stats.variance import UNKNOWN, Variance

# By machine key, machine model, family and stratum.
NoiseLookup = Callable[[str, str, str, str], Noise]


def assumed_noise(machine_key: str, machine_model: str, family: str, stratum: str) -> Noise:
    """What holds where no database tells more."""
    return _within_run(noise_table(ANY_GPU).noise(stratum))


class Noises:
    """The noise of machines as a store knows it; `without` are runs that must not count.

    Cells of `in_cycles`, by their hash of case and method, have their rounds at one clock.

    Called, it is the noise for cells of one run, which rank by their own rounds alone.
    """

    def __init__(
        self, store: Store, without: Collection[int] = (), in_cycles: Collection[str] = ()
    ) -> None:
        self._store, self._without = store, frozenset(without)
        self._in_cycles = frozenset(in_cycles)
        self._machines: dict[tuple[str, str], MachineNoise] = {}

    def __call__(self, machine_key: str, machine_model: str, family: str, stratum: str) -> Noise:
        return _within_run(self._between(machine_key, machine_model, family, stratum))

    def at_one_clock(self, cells: Collection[str]) -> Self:
        """The same with the rounds of these cells in cycles."""
        return type(self)(self._store, self._without, cells)

    def between(self, series: Series, stratum: str, cell: str = "") -> Noise:
        """Of a series between runs, by its hash of case and method if it may have been repeated."""
        first = series.first
        machine = first.machine_key, first.machine_model
        return self._between(*machine, first.case.family, stratum, cell, series.regime)

    def _between(
        self,
        machine_key: str,
        machine_model: str,
        family: str,
        stratum: str,
        cell: str = "",
        regime: str = "burst",
    ) -> Noise:
        found = self.machine(machine_model, regime)
        if not found.repeats:
            stored = self._store.noise(machine_key, machine_model, family, stratum)
            if stored is not None and stored.session_sd is not None:
                return _stored(found.table.noise(stratum), stored.session_sd, stored.num_cells)
        return found.noise(family, stratum, cell)

    def source(self, models: Iterable[tuple[str, str]]) -> str:
        """Where the noise of these models, each in a regime, comes from, for a person."""
        return "; ".join(dict.fromkeys(self.machine(*each).source for each in models))

    def machine(self, machine_model: str, regime: str = "burst") -> MachineNoise:
        """All that is known of one model in a regime: under load it has another noise."""
        if (machine_model, regime) not in self._machines:
            self._machines[machine_model, regime] = self._read(machine_model, regime)
        return self._machines[machine_model, regime]

    def _read(self, machine_model: str, regime: str) -> MachineNoise:
        rows = [row for row in self._store.sessions(machine_model) if row.run not in self._without]
        repeated, on_cards = repeated_rows(rows), _several(rows, _code, _card)
        stored = at_one_clock(self._store.rounds(repeated | on_cards), self._in_cycles)
        rounds = [each for each in stored if each.regime == regime]
        return MachineNoise(
            noise_table(self._store.machine_name(machine_model) or ANY_GPU),
            tuple(repeat_of(each) for each in rounds if each.row in repeated),
            between_cards(repeat_of(each) for each in rounds if each.row in on_cards),
            any(each.row.command == "selfcheck" for each in rounds if each.row in repeated),
        )


def _within_run(noise: Noise) -> Noise:
    return replace(noise, rounds=UNKNOWN, stored=True)


def _code(row: SessionRow) -> object:
    return row.code


def _card(row: SessionRow) -> object:
    return row.card


def repeated_rows(rows: Iterable[SessionRow]) -> set[SessionRow]:
    """The runs whose code, software and machine others of them share, in several sessions."""
    return _several(rows, lambda row: (row.code, row.machine), lambda row: row.session)


def _several(
    rows: Iterable[SessionRow],
    state: Callable[[SessionRow], object],
    kind: Callable[[SessionRow], object],
) -> set[SessionRow]:
    """The rows of those states that have several kinds."""
    groups: dict[object, list[SessionRow]] = defaultdict(list)
    for row in rows:
        groups[state(row)].append(row)
    return {row for listed in groups.values() if len(set(map(kind, listed))) > 1 for row in listed}


def repeat_of(each: RepeatedRounds) -> Repeat:
    """The same as analysis takes it."""
    row = each.row
    return Repeat(
        state=(row.code, row.machine),
        card=row.card,
        session=row.session,
        family=each.family,
        cell=cell_key(each.case, each.method),
        rounds=each.rounds,
    )


def at_one_clock(
    listed: Iterable[RepeatedRounds], cells: Collection[str]
) -> Iterator[RepeatedRounds]:
    """With these cells' rounds as at the mean clock of all of them, where each has a clock."""
    by_cell: dict[str, list[RepeatedRounds]] = defaultdict(list)
    for each in listed:
        by_cell[cell_key(each.case, each.method)].append(each)
    for key, found in by_cell.items():
        clocks = [clock for each in found for clock in each.clocks if clock]
        if key not in cells or len(clocks) < sum(len(each.rounds) for each in found):
            yield from found
            continue
        mean = geometric_mean(clocks)
        for each in found:
            cycles = zip(each.rounds, each.clocks, strict=True)
            rounds = tuple(time * (clock or mean) / mean for time, clock in cycles)
            yield replace(each, rounds=rounds)


def cell_key(case: str, method: str) -> str:
    """What a case by a method has in every run."""
    return f"{case}/{method}"


def _stored(table: Noise, session_sd: float, num_cells: int) -> Noise:
    """Of a selfcheck whose runs are gone: one spread, common shifts and all."""
    session = Variance(session_sd**2, min(num_cells, TABLE_DF))
    return Noise(session.pooled(table.session, 1.0), per_round=table.per_round)


def turns_of(store: Store, runs: Iterable[int]) -> dict[int, str]:
    """The mark that interleaved runs share, by number; other runs have none."""
    marks = {run: store.plan(run).get("interleaved") for run in runs}
    return {run: mark for run, mark in marks.items() if mark is not None}
