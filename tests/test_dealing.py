"""The simulation of a stored run on several cards, by the code that deals."""

import json
import lzma
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_stored_run_would_be_faster_on_more_cards_but_not_faster_than_it_can(
    tmp_path: Path,
) -> None:
    packed = ROOT / "docs" / "results" / "two_cards.db.xz"
    (tmp_path / "two.db").write_bytes(lzma.decompress(packed.read_bytes()))
    words = ["benchmarks/dealing.py", str(tmp_path / "two.db"), "--runs", "2"]
    output = tmp_path / "rows.json"
    subprocess.run([sys.executable, *words, "--output", str(output)], cwd=ROOT, check=True)
    (row,) = json.loads(output.read_text())
    assert row["run"] == "attn_one"
    assert round(row["one card s"], 1) == 67.8
    for count in (2, 4, 8):
        new, known, best = map(float, row[f"{count} cards"].split(" / "))
        assert 1.5 < new <= best < count
        assert new <= known <= best
