"""How often a planted slowdown is found: python benchmarks/planted.py

Needs an NVIDIA GPU (--device cpu tries the script alone). Three runs take turns round by round:
one as it is and two with 2 % and 3 % of extra work. The rate at which cells are called slower at
a margin of 1 %, over every choice of so many rounds, stands beside the one that the measured
spread of the rounds predicts.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import EXACT, Cell, estimate_all
from attnbench.analysis.pairing import cell_of, pair_up
from attnbench.analysis.series import series_of
from attnbench.db.store import Store
from attnbench.families.attn import ATTN
from attnbench.provenance.machine import Machine
from attnbench.reporting.progress import outcome_line
from attnbench.results.noise import turns_of
from attnbench.running.cases import DEFAULT_TIMER, asked_by_default, cases_for
from attnbench.running.command import Command
from attnbench.running.interleaved import Side, interleaved
from attnbench.running.plan import Plan
from attnbench.running.process import WorkerProcess
from attnbench.specs.batch import parse_batch_spec
from attnbench.timing.method import Method

KERNELS = Path(__file__).parent / "planted_kernels"
BACKENDS = ("planted-sdpa", "planted-naive")
# In sdpa a rotation over the working sets of each takes 0.1 ms or more: 2 % of it is a kernel.
SPECS = (
    "q1kv4k 2q1kv1k 2q1kv2k 4q1kv1k 8q1kv512 32q1kv4k 64q1kv2k q128 q256 q512 q1k q2k "
    "2q256 2q512 2q1k q16kv1k 4q16kv1k 16q16kv1k q512_16q1kv1k"
)
SHARES = (0.0, 0.02, 0.03)  # of extra work; the first is the base
ROUNDS = (3, 5)
MARGIN = 0.01
TRIALS = 200  # simulated diffs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--specs", nargs="+", default=SPECS.split(), help="batch specs")
    parser.add_argument("--repeats", type=int, default=30, help="samples a round")
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    asked = parser.parse_args()
    os.environ["ATTNBENCH_KERNELS"] = str(KERNELS)
    with TemporaryDirectory() as folder:
        machine, sides = measured(asked, str(Path(folder, "planted.db")))
    rows = [
        row(share, cells, rounds)
        for share, cells in zip(SHARES[1:], sides, strict=True)
        for rounds in ROUNDS
    ]
    print(tabulate(rows, headers="keys", floatfmt=".3g"))
    if asked.output is not None:
        cells = [
            {"planted": share, "case": key, "base_s": cell.base, "head_s": cell.head}
            for share, side in zip(SHARES[1:], sides, strict=True)
            for key, cell in side.items()
        ]
        facts = {"machine": machine.as_facts(), "margin": MARGIN, "rates": rows, "cells": cells}
        asked.output.write_text(json.dumps(facts, indent=1))


def measured(asked: argparse.Namespace, db: str) -> tuple[Machine, list[dict[str, Cell]]]:
    """Measure all sides; for each share of extra work the cells against the base, by case."""
    command = Command("planted", sys.argv, {}, [asked.device], db)
    sides = [Side(f"{share:.0%}", partial(start, share)) for share in SHARES]
    runs = dict[int, Machine]()
    for run, finished in interleaved(command, sides, partial(plan, asked), print):
        print(f"run {run.run} {outcome_line(finished)}", file=sys.stderr)
        runs[run.run] = run.machine
    base, *heads = runs
    with Store.open(db, create=False) as store:
        return runs[base], [cells_of(store, base, head) for head in heads]


def start(share: float, device: str) -> WorkerProcess:
    """A worker whose backends do that share of extra work."""
    os.environ["ATTNBENCH_PLANTED"] = str(share)
    return WorkerProcess.start(device)


def plan(asked: argparse.Namespace, machine: Machine) -> Plan:
    """Every spec with both backends."""
    cases = asked_by_default(ATTN, BACKENDS, [parse_batch_spec(spec) for spec in asked.specs])
    method = Method(DEFAULT_TIMER[machine.kind], samples=asked.repeats, isolate="rounds")
    return Plan(cases_for(cases, machine.kind), (method,), rounds=max(ROUNDS))


def cells_of(store: Store, base: int, head: int) -> dict[str, Cell]:
    """What a diff of two runs compares, by case."""
    pairing = pair_up(*(series_of(store.measurements([run])) for run in (base, head)))
    turns = turns_of(store, (base, head))
    whole = [pair for pair in pairing.pairs if not (pair.base.failures or pair.head.failures)]
    return {
        f"{pair.base.case.backend} {pair.base.case.batch}": cell_of(pair, turns) for pair in whole
    }


def row(share: float, cells: dict[str, Cell], rounds: int) -> dict[str, Any]:
    """The rate at which a share is found in so many rounds, and what it should be."""
    full = list(cells.values())
    estimates = estimate_all(full, [EXACT] * len(full))
    changes = [math.expm1(estimate.log_ratio) for estimate in estimates]
    spreads = [estimate.spreads[0].variance.sd for estimate in estimates]
    chosen = list(combinations(range(max(ROUNDS)), rounds))
    return {
        "planted %": 100 * share,
        "rounds": rounds,
        "cells": len(full),
        "choices of rounds": len(chosen),
        "found %": 100 * float(np.mean([found(of_rounds(full, which)) for which in chosen])),
        "predicted %": 100 * predicted(full, math.log1p(share), spreads, rounds),
        "measured change %": 100 * float(np.median(changes)),
        "least %": 100 * min(changes),
        "most %": 100 * max(changes),
        "spread of rounds %": 100 * float(np.median(spreads)),
    }


def of_rounds(cells: Sequence[Cell], which: Sequence[int]) -> list[Cell]:
    """The cells with those rounds alone."""
    return [
        Cell(c.key, tuple(c.base[i] for i in which), tuple(c.head[i] for i in which), paired=True)
        for c in cells
    ]


def found(cells: Sequence[Cell]) -> float:
    """The share of the cells that a diff calls slower."""
    comparisons = compare(cells, lambda _: EXACT, MARGIN)
    return float(np.mean([each.verdict == "slower" for each in comparisons]))


def predicted(cells: Sequence[Cell], effect: float, spreads: Sequence[float], rounds: int) -> float:
    """The share that diffs find of normal log ratios around `effect`, with each cell's spread."""
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(TRIALS):
        ratios = rng.normal(effect, spreads, (rounds, len(cells))).T
        rates.append(found([simulated(*each) for each in zip(cells, ratios, strict=True)]))
    return float(np.mean(rates))


def simulated(cell: Cell, ratios: NDArray[np.float64]) -> Cell:
    """Rounds with these log ratios, of the cell's duration."""
    base = (cell.base[0],) * len(ratios)
    return Cell(cell.key, base, tuple((cell.base[0] * np.exp(ratios)).tolist()), paired=True)


if __name__ == "__main__":
    main()
