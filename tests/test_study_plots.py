"""Pictures of studies: drawn, coloured as on a page, and refused in a sentence."""

import importlib.util
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.reporting.html.palette import LIGHT, TINTS
from attnbench.results.report import read_report
from attnbench.studies.charts import Heat, Lines
from attnbench.studies.conclusion import Conclusion, conclude
from attnbench.studies.heat import TIE
from attnbench.studies.page import study_parts
from attnbench.studies.plots import write_plots
from tests.stored_results import (
    attn,
)
from tests.test_study_answers import of_each
from tests.test_study_conclusion import run_of


def test_without_matplotlib_plots_are_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    folder = tmp_path / "plots"
    words = ["study", "prefill-length", "--plots", str(folder), "--dry-run"]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "'--plots': plots need matplotlib, which is not installed" in done.stderr
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = Conclusion("s", "?", (), "here", (), (), (), (), (Lines("t", "x", "y", {}),))
    with pytest.raises(AttnbenchError, match="could not be written"):
        write_plots(found, tmp_path / "file" / "plots", "png")


def test_every_kind_of_chart_is_drawn(tmp_path: Path) -> None:
    lines = Lines("A", "x", "y", {"a": [(1, 2, 1.5, None), (1024, 9, None, None)], "b": []}, True)
    heat = Heat("B", "x", "y", ["1", "2"], ["3"], [["a", ""]], [[1.0, None]], "z")
    found = Conclusion("mine", "x?", [], "run 1", [], [], [], [], [lines, heat])
    paths = write_plots(found, tmp_path, "png")
    assert [path.name for path in paths] == ["mine-1-a.png", "mine-2-b.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_picture_and_a_page_colour_a_winner_alike(tmp_path: Path) -> None:
    """By the place of its first case, and the stronger, the larger its lead; ties are striped."""
    results = of_each(
        [
            (attn(spec, backend), seconds)
            for spec, times in (
                ("q1kv1k", (3e-5, 1.5e-5, 1e-5)),
                ("q1kv2k", (3e-5, 1.03e-5, 1e-5)),
                ("q1kv4k", (3e-5, 1e-5, 1e-5)),
            )
            for backend, seconds in zip(("naive", "sdpa", "flash"), times, strict=True)
        ]
    )
    text = "question: x\nfamily: attn\nanswer: {winner: {}}\nsweep:\n- {kv_len: [1k, 2k, 4k]}\n"
    with Store.open(tmp_path / "results.db") as store:
        run = run_of(store, text, results)
        found = conclude(store, run)
        (part,) = study_parts(store, read_report(store, [str(run)]))
    ((_, cells),) = part.maps[0].rows
    styles = [(each.style, sorted(each.slots)) for each in cells if each]
    assert styles == [("slot2 strength2", []), ("slot2 strength0", []), ("tied", [1, 2])]
    (path,) = write_plots(found, tmp_path, "svg")
    drawn = set(re.findall(r"fill: (#[0-9a-f]{6})", path.read_text()))
    mixes = [(2, TINTS["light"][2]), (2, TINTS["light"][0]), (2, TIE / 100), (1, TIE / 100)]
    assert {mixed(LIGHT[slot], part) for slot, part in mixes} <= drawn


def mixed(colour: str, part: float) -> str:
    levels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - (255 - level) * part):02x}" for level in levels)


def test_a_picture_has_the_answer_above_and_its_origin_below(tmp_path: Path) -> None:
    heat = Heat("B", "x", "y", ["1"], ["3"], [["+9 %"]], [[9.0]], "and regret, %")
    answer = ["a: not answered here: needs SM100", "b loses 9 %"]
    found = Conclusion("mine", "x?", [], "run 1", [], answer, [], [], [heat], "run 1: H200, 48ec")
    (path,) = write_plots(found, tmp_path, "svg")
    comments = [line.strip() for line in path.read_text().splitlines() if "<!--" in line]
    assert "<!-- b loses 9 % -->" in comments
    assert "<!-- run 1: H200, 48ec -->" in comments
    assert not any("SM100" in line for line in comments)
