"""How often verdicts on simulated runs are right: false alarms on equal code, and changes found.

    python benchmarks/verdicts.py equal changed gate cpu few --output verdicts.json

equal is A/A: worlds of noise by source of what is known; changed is power; gate is a diff of 40
cells in CI; cpu is the six cells of a first run on a CPU; few are one to eight cells on a GPU. The
cells are simulated, the judgement is the real one: `compare_sides`, with noise as `MachineNoise`
makes it from simulated runs of equal code, or as the shipped table has it.
"""

import argparse
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from verdict_worlds import INTERLEAVED, ON_CPU, SEPARATE, SOURCES, Source, World

from attnbench.analysis.compare import compare_sides
from attnbench.analysis.verdict import CPU_MARGIN, MARGIN, Verdict

FINDINGS: tuple[Verdict, ...] = ("slower", "faster")


@dataclass(frozen=True)
class Setup:
    """The diffs of one row."""

    table: str
    world: str
    of: World
    source: Source
    rounds: int
    cells: int
    diffs: int
    change: float = 0.0  # of a time
    share: float = 0.0  # of the cells that changed
    paired: bool = False
    controls: float = 0.0  # share of the cells whose code is known to be the same on both sides
    margin: float = MARGIN

    @property
    def name(self) -> str:
        """What tells it from the other rows."""
        text = f"{self.table}: {self.world}; {self.source}; R={self.rounds}; {self.cells} cells"
        if self.share:
            text += f"; {100 * self.share:g} % by {100 * self.change:g} %"
        if self.controls:
            text += f"; {100 * self.controls:g} % controls"
        return text


@dataclass
class Rates:
    """Verdicts on cells that have not changed and on those that have, and diffs that erred."""

    equal: Counter[Verdict] = field(default_factory=Counter)
    changed: Counter[Verdict] = field(default_factory=Counter)
    erring: int = 0  # diffs with a false verdict
    failing: int = 0  # with a false `slower`, which is exit status 1
    settling: int = 0  # with a right `same`

    def as_row(self, setup: Setup) -> dict[str, Any]:
        """All percent."""
        equal, changed = max(1, self.equal.total()), max(1, self.changed.total())
        return {
            "table": setup.table,
            "world": setup.world,
            "known from": "interleaved" if setup.paired else setup.source,
            "R": setup.rounds,
            "cells": setup.cells,
            "diffs": setup.diffs,
            "controls": 100 * setup.controls,
            "changed": 100 * setup.share,
            "by": 100 * setup.change,
            "false cells": 100 * sum(self.equal[each] for each in FINDINGS) / equal,
            "false diffs": 100 * self.erring / setup.diffs,
            "exit 1": 100 * self.failing / setup.diffs,
            "same": 100 * self.equal["same"] / equal,
            "any same": 100 * self.settling / setup.diffs,
            "found": 100 * self.changed["slower"] / changed if setup.share else None,
            "false same": 100 * self.changed["same"] / changed if setup.share else None,
        }


def rates(setup: Setup, seed: int) -> Rates:
    """Simulate and judge the diffs of a row."""
    rng = np.random.default_rng([seed, zlib.crc32(setup.name.encode())])
    found = Rates()
    for _ in range(setup.diffs):
        machine = setup.of.simulated(rng, setup.cells)
        noise = machine.noise(setup.source, setup.rounds)
        control = rng.random(setup.cells) < setup.controls
        changed = (rng.random(setup.cells) < setup.share) & ~control
        moved = np.where(changed, np.log1p(setup.change), 0.0)
        cells = machine.diff(setup.rounds, moved, setup.paired)
        of_controls = [cell for cell, same in zip(cells, control, strict=True) if same]
        compared = compare_sides(cells, noise, setup.margin, of_controls.__contains__)
        verdicts = [each.verdict for each in compared.comparisons]
        equal = Counter(v for v, c in zip(verdicts, changed, strict=True) if not c)
        found.equal += equal
        found.changed += Counter(v for v, c in zip(verdicts, changed, strict=True) if c)
        found.erring += any(equal[each] for each in FINDINGS)
        found.failing += bool(equal["slower"])
        found.settling += bool(equal["same"])
    return found


def equal(diffs: int) -> Iterator[Setup]:
    """A/A of 120 cells in every world, then of other numbers of cells and rounds."""
    for rounds in (2, 3, 5):
        for name, world in INTERLEAVED.items():
            yield Setup("equal", name, world, "known", rounds, 120, diffs, paired=True)
    for name, world in SEPARATE.items():
        for source in SOURCES:
            if source == "known" and (world.modes or world.session_unequal):
                continue  # no one variance is that of all cells
            yield Setup("equal", name, world, source, 3, 120, diffs)
    for name, world in SEPARATE.items():
        yield Setup("equal", name, world, "table H200", 3, 120, diffs, controls=0.25)
    quiet = SEPARATE["session 0.2 %"]
    for source in ("history 6", "table any"):
        for cells in (1, 10, 40, 400, 10_000):
            some = max(4, min(diffs, 40_000 // cells))
            yield Setup("cells", "session 0.2 %", quiet, source, 3, cells, some)
        for rounds in (1, 2, 5):
            yield Setup("rounds", "session 0.2 %", quiet, source, rounds, 120, diffs)


def changed(diffs: int) -> Iterator[Setup]:
    """Power, of 90 cells."""
    some = max(1, diffs // 3)
    for rounds in (3, 5):
        for name in ("A (as measured)", "B (as measured)", "side 0.5 %"):
            for share in (0.05, 0.5, 1.0):
                for by in (0.015, 0.02, 0.03, 0.05):
                    world = INTERLEAVED[name]
                    few = some if share < 0.1 else max(1, some // 4)
                    yield Setup(
                        *("changed", name, world, "known", rounds, 90, few, by, share), paired=True
                    )
    for source in SOURCES:
        for sd in (0.001, 0.002, 0.003):
            world = World(prior=(0.0015, 2.0), session=sd)
            name = f"A, session {100 * sd:g} %"
            yield from _separate(name, world, source, some, 0.0)
            if source == "table H200":
                yield from _separate(name, world, source, some, 0.25)


def _separate(
    name: str, world: World, source: Source, diffs: int, controls: float
) -> Iterator[Setup]:
    for share, by in (
        (0.05, 0.02),
        (0.05, 0.03),
        (0.05, 0.05),
        (0.05, 0.1),
        (0.25, 0.03),
        (1, 0.05),
    ):
        yield Setup("changed", name, world, source, 5, 90, diffs, by, share, controls=controls)
    yield Setup("changed", name, world, source, 3, 90, diffs, 0.03, 0.25, controls=controls)


def gate(diffs: int) -> Iterator[Setup]:
    """A diff of 40 equal cells."""
    for name, world in SEPARATE.items():
        for source in ("selfcheck 3", "history 6", "table any"):
            for rounds in (1, 3, 5):
                yield Setup("gate", name, world, source, rounds, 40, diffs)


def cpu(diffs: int) -> Iterator[Setup]:
    """Six cells by what comes with attnbench: of one code, or where a quarter got slower."""
    for name, world in ON_CPU.items():
        for rounds in (1, 3, 5):
            for controls in (1.0, 0.0):
                yield Setup(
                    *("cpu", name, world, "table CPU", rounds, 6, diffs),
                    controls=controls,
                    margin=CPU_MARGIN,
                )
            yield Setup(
                *("cpu", name, world, "table CPU", rounds, 6, diffs, 0.25, 0.25), margin=CPU_MARGIN
            )


def few(diffs: int) -> Iterator[Setup]:
    """Too few cells to show a scatter, by a table alone or interleaved: equal, then changed."""
    worlds = ("session 0.2 %", "session 1 %", "common 1 %", "10 % of cells two modes by session")
    for cells in (1, 2, 5, 8):
        for source in ("table H200", "table any"):
            for name in worlds:
                yield Setup("few", name, SEPARATE[name], source, 3, cells, diffs)
            for by in (0.03, 0.05, 0.1):
                world, share = World(prior=(0.0015, 2.0), session=0.001), 0.5 if cells > 2 else 1.0
                name = "A, session 0.1 %"
                yield Setup("few", name, world, source, 3, cells, diffs // 5, by, share)
        for name in ("side 0.5 %", "all cells two modes"):
            world = INTERLEAVED[name]
            yield Setup("few", name, world, "known", 3, cells, diffs, paired=True)


TABLES = {"equal": equal, "changed": changed, "gate": gate, "cpu": cpu, "few": few}


def largest_first(table: str, diffs: int) -> list[Setup]:
    """So that no long row is left alone at the end."""
    return sorted(TABLES[table](diffs), key=lambda each: each.cells * each.diffs, reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", choices=list(TABLES))
    parser.add_argument("--diffs", type=int, default=300, help="of a row of equal code")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, help="write each row here, as a line of JSON")
    asked = parser.parse_args()
    setups = [setup for table in asked.tables for setup in largest_first(table, asked.diffs)]
    with ProcessPoolExecutor(asked.processes) as pool:
        pending = {pool.submit(rates, setup, asked.seed): setup for setup in setups}
        for done in as_completed(pending):
            setup = pending[done]
            row = done.result().as_row(setup)
            print(setup.name, {name: row[name] for name in list(row)[9:]}, flush=True)
            if asked.output is not None:
                with asked.output.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
