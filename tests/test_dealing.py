"""Runs on two cards, as stored, and as the code that deals simulates them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_stored_verdicts import unpacked

ROOT = Path(__file__).parents[1]


def test_the_tables_of_two_cards_are_of_the_stored_runs(tmp_path: Path) -> None:
    words = ["benchmarks/two_cards.py", str(unpacked(tmp_path, "two_cards.db"))]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, check=True, capture_output=True, text=True
    )
    rows = [cells_of(line) for line in done.stdout.splitlines() if "host" in line]
    page = [cells_of(line) for line in (ROOT / "docs/lab/scale.md").read_text().splitlines()]
    assert len(rows) == 14 + 14
    assert [row for row in rows if row not in page] == []


def cells_of(line: str) -> list[str]:
    """The texts of a table's row."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def simulated(folder: Path) -> dict[str, dict[str, Any]]:
    """The simulation of the study's runs, by label: 2 on one card, 4 on two."""
    words = ["benchmarks/dealing.py", str(unpacked(folder, "two_cards.db")), "--runs", "2", "4"]
    output = folder / "rows.json"
    subprocess.run([sys.executable, *words, "--output", str(output)], cwd=ROOT, check=True)
    return {row["run"]: row for row in json.loads(output.read_text())}


def times_as_fast(row: dict[str, Any], count: int) -> tuple[float, float, float]:
    """New workloads, known ones, and the best there is."""
    new, known, best = map(float, row[f"{count} cards"].split(" / "))
    return new, known, best


def test_two_cards_would_take_as_long_as_they_did_and_more_cards_be_faster(tmp_path: Path) -> None:
    """By the seconds of either run, a run whose durations are known takes as long as run 4 did."""
    rows = simulated(tmp_path)
    one, two = rows["hhc_one"], rows["hhc_two"]
    assert (one["cards"], two["cards"], round(one["one card s"], 1)) == (1, 2, 76.6)
    for row in (one, two):
        _, known, _ = times_as_fast(row, 2)
        assert row["one card s"] / known == pytest.approx(two["took s"], rel=0.01)
    for count in (2, 4, 8):
        new, known, best = times_as_fast(one, count)
        assert 1.5 < new <= known <= best < count
