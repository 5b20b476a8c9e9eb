"""Judges the runs of separate_runs.py two by two: python benchmarks/separate_verdicts.py FILE...

Each pair of runs of a kind goes through `diff` in a database of its own, as a fresh one that holds
nothing else, and again beside all other runs, as their history. `slower` and `faster` are false
there. The files may be of several machines, days and commits. Then the cases with
extra work take the place of the plain ones in the second run, as a commit would have made them: how
many of them are found, and how many of the others are false.
"""

import argparse
import json
import math
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tabulate import tabulate

from attnbench.analysis.series import Series, series_of
from attnbench.db.store import Store
from attnbench.db.transfer import export, merge
from attnbench.labels import Label
from attnbench.records import Run
from attnbench.results.diff import Row, diff

Key = tuple[str, str]  # backend and batch
VERDICTS = ("same", "unclear", "slower", "faster")
# The kind of run whose diffs a run takes part in, by its own; and those with extra work.
KINDS = {"equal": "equal", "quick": "equal", "limited": "limited", "plain": "limited"}
PLANTED = ("equal", "limited")
# Runs on one card that are further apart are of another session with the machine.
ONE_SESSION = timedelta(minutes=15)


@dataclass
class Tally:
    """Verdicts, and the diffs with a false one."""

    verdicts: Counter[str] = field(default_factory=Counter)
    diffs: int = 0
    erring: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        counted = Counter(row.verdict for row in rows)
        self.verdicts += counted
        self.diffs += 1
        self.erring += bool(counted["slower"] + counted["faster"])

    def as_row(self) -> dict[str, Any]:
        total = max(1, self.verdicts.total())
        return {
            "diffs": self.diffs,
            "with a finding": self.erring,
            "cells": self.verdicts.total(),
            **{name: self.verdicts[name] for name in VERDICTS},
            "same %": 100 * self.verdicts["same"] / total,
            "slower %": 100 * self.verdicts["slower"] / total,
        }


@dataclass(frozen=True)
class Campaign:
    """All finished runs in one database."""

    store: Store
    runs: dict[int, Run]

    def of(self, kind: str) -> list[int]:
        """The numbers of the runs that take part in diffs of the kind."""
        return [number for number, run in self.runs.items() if KINDS[kind_of(run)] == kind]

    def pairs(self, kind: str) -> Iterator[tuple[int, int, str]]:
        """Two runs of a kind, in both orders, and where they ran."""
        for base, head in combinations(self.of(kind), 2):
            where = self.where(base, head)
            yield base, head, where
            yield head, base, where

    def where(self, *numbers: int) -> str:
        """Whether two runs had one card, and whether in one session."""
        base, head = (self.runs[number] for number in numbers)
        if base.machine_key != head.machine_key:
            return "two cards"
        apart = abs(base.started - head.started) > ONE_SESSION
        return "one card, apart" if apart else "one card"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="databases of separate_runs.py")
    parser.add_argument("--output", type=Path, help="write all numbers here, as JSON")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        facts = judged(asked.files, Path(folder))
    for title, rows in facts.items():
        print(f"\n{title}\n\n{tabulate(rows, headers='keys', floatfmt='.3g')}")
    if asked.output is not None:
        asked.output.write_text(json.dumps(facts, indent=1))


def judged(files: Sequence[Path], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The tables by title."""
    path = folder / "all.db"
    with Store.open(path) as store:
        merge(store, files)
    with sqlite3.connect(path) as db:
        # The runs' environments differ by CUDA_VISIBLE_DEVICES alone, which names the card.
        db.execute("UPDATE run SET environment_id = (SELECT MIN(id) FROM environment)")
    with Store.open(path) as store:
        runs = sorted(store.runs(), key=lambda run: run.number)
        runs = [run for run in runs if run.finished is not None and kind_of(run) in KINDS]
        campaign = Campaign(store, {run.number: run for run in runs})
        return {
            "pairs of runs": pairs(campaign, folder),
            "equal code": equal_code(campaign, folder),
            "planted": planted(campaign, folder),
            "spread between runs": spreads(campaign),
        }


def kind_of(run: Run) -> str:
    """As separate_runs.py named it."""
    return (run.label or "").split("-")[0]


def pairs(campaign: Campaign, folder: Path) -> list[dict[str, Any]]:
    """A row a pair of runs, each judged as in a fresh database."""
    rows = []
    for kind in dict.fromkeys(KINDS.values()):
        for base, head, where in campaign.pairs(kind):
            tally = Tally()
            path = database(campaign, folder, kind, base, head, history=False)
            replace_planted(path, base, head, share=None, backends=())
            tally.add(diffed(path, base, head))
            rows.append({"base": base, "head": head, "cards": where, **tally.as_row()})
    return rows


def equal_code(campaign: Campaign, folder: Path) -> list[dict[str, Any]]:
    """By kind, history, cards and power limit."""
    found = defaultdict[tuple[str, ...], Tally](Tally)
    for kind in dict.fromkeys(KINDS.values()):
        for history in (False, True):
            for base, head, where in campaign.pairs(kind):
                path = database(campaign, folder, kind, base, head, history=history)
                replace_planted(path, base, head, share=None, backends=())
                rows = diffed(path, base, head)
                for power in ("at the limit", "not"):
                    some = [row for row in rows if (power == "not") != limited(row)]
                    about = "beside others" if history else "fresh"
                    found[kind, about, where, power].add(some)
    names = ("kind", "database", "cards", "power")
    return [dict(zip(names, key, strict=True)) | tally.as_row() for key, tally in found.items()]


def planted(campaign: Campaign, folder: Path) -> list[dict[str, Any]]:
    """By kind, history, cards and share: the planted cells, and the others of the same diffs."""
    found = defaultdict[tuple[str, ...], Tally](Tally)
    for kind, share, backends in (
        ("equal", 3, ("flash", "sdpa")),
        ("equal", 5, ("flash", "sdpa")),
        ("limited", 3, ("flash",)),
        ("limited", 3, ("sdpa",)),
    ):
        for history in (False, True):
            for base, head, where in campaign.pairs(kind):
                if kind_of(campaign.runs[head]) not in PLANTED:
                    continue
                path = database(campaign, folder, kind, base, head, history=history)
                replace_planted(path, base, head, share=share, backends=backends)
                rows = diffed(path, base, head)
                about = "beside others" if history else "fresh"
                key = (kind, f"{share} %", about, where)
                bearing = [row for row in rows if "planted" in row.pair.base.case.backend]
                others = [row for row in rows if "planted" not in row.pair.base.case.backend]
                found[*key, "planted"].add(bearing)
                found[*key, "others"].add(others)
    names = ("kind", "share", "database", "cards", "cells are")
    return [dict(zip(names, key, strict=True)) | tally.as_row() for key, tally in found.items()]


def spreads(campaign: Campaign) -> list[dict[str, Any]]:
    """How far the runs of a case at the power limit are apart, in time and in cycles."""
    cells = defaultdict[Key, list[Series]](list)
    for run in campaign.of("limited"):
        for each in series_of(campaign.store.measurements([run])):
            cells[each.case.backend, str(each.case.batch)].append(each)
    return [
        {
            "case": " ".join(key),
            "runs": len(listed),
            "ms": 1e3 * fmean(each.time or math.nan for each in listed),
            "labels": ",".join(sorted({label for each in listed for label in each.labels})),
            "time sd %": spread([each.time for each in listed]),
            "cycles sd %": spread([each.cycles for each in listed]),
        }
        for key, listed in sorted(cells.items())
        if len(listed) > 1
    ]


def spread(values: Sequence[float | None]) -> float | None:
    """The standard deviation of the logarithms, percent; None where one is unknown."""
    logs = [math.log(value) for value in values if value is not None]
    return 100 * stdev(logs) if len(logs) == len(values) else None


def limited(row: Row) -> bool:
    """Whether the GPU was at its power limit on a side."""
    return any(Label.POWER_LIMITED in side.labels for side in (row.pair.base, row.pair.head))


def diffed(path: Path, base: int, head: int) -> list[Row]:
    """The rows of a diff of the two runs, which the database knows by these labels."""
    with Store.open(path, create=False) as store:
        numbers = {run.label: str(run.number) for run in store.runs()}
        return list(diff(store, numbers[f"run {base}"], numbers[f"run {head}"]).rows)


def database(
    campaign: Campaign, folder: Path, kind: str, base: int, head: int, *, history: bool
) -> Path:
    """A copy with the two runs, and the others of the kind if they are history."""
    path = folder / "pair.db"
    path.unlink(missing_ok=True)
    others = campaign.of(kind) if history else []
    chosen = list(dict.fromkeys((base, head, *others)))
    numbers = export(campaign.store, chosen, path, samples=False).numbers
    with sqlite3.connect(path) as db:
        for origin, number in numbers.items():
            db.execute("UPDATE run SET label = ? WHERE number = ?", (f"run {origin}", number))
    return path


def replace_planted(
    path: Path, base: int, head: int, share: int | None, backends: Sequence[str]
) -> None:
    """Let the head be another commit, whose backends do so much more work in some cases.

    These cases go by the planted backend's name on both sides. All other planted cells are dropped.
    """
    with sqlite3.connect(path) as db:
        numbers = dict(db.execute("SELECT label, number FROM run"))
        if share is not None:
            _other_commit(db, numbers[f"run {head}"])
        cases = {
            (backend, batch): id
            for id, backend, batch in db.execute('SELECT id, backend, batch FROM "case"')
        }
        for (backend, batch), planted_id in cases.items():
            if not backend.startswith("planted"):
                continue
            name = backend.split("-", 1)[1]
            wanted = share is not None and backend == f"planted{share}-{name}" and name in backends
            after = numbers[f"run {head}"]
            for number in numbers.values():
                if not (wanted and number == after):
                    _drop(db, planted_id, number)
            if wanted:
                plain = cases[name, batch]
                _drop(db, plain, after)
                db.execute(
                    "UPDATE measurement SET case_id = ? WHERE case_id = ? AND run != ?",
                    (planted_id, plain, after),
                )


def _drop(db: sqlite3.Connection, case: int, run: int) -> None:
    db.execute("DELETE FROM measurement WHERE case_id = ? AND run = ?", (case, run))


def _other_commit(db: sqlite3.Connection, run: int) -> None:
    names = [row[1] for row in db.execute("PRAGMA table_info(source)")]
    row = db.execute(
        "SELECT source.* FROM source JOIN run ON source_id = source.id WHERE number = ?", (run,)
    ).fetchone()
    copy = dict(zip(names, row, strict=True)) | {"key": "planted", "commit": "planted"}
    copy["facts"] = json.dumps(json.loads(copy["facts"]) | {"commit": "planted"})
    del copy["id"]
    columns, marks = ", ".join(f'"{name}"' for name in copy), ", ".join("?" * len(copy))
    added = db.execute(f"INSERT INTO source ({columns}) VALUES ({marks})", list(copy.values()))
    db.execute("UPDATE run SET source_id = ? WHERE number = ?", (added.lastrowid, run))


if __name__ == "__main__":
    main()
