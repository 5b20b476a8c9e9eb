"""A stored case has one time, and two of them one ratio, whoever prints it."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from tests.stored_results import H200, ON_CPU, attn, store_run, timed

# Rounds of one device that was busy at times: their median is 27.8 ms, their geometric mean 9.54.
ROUNDS = (1.3e-3, 27.8e-3, 24e-3)
MEAN = "9.54"
STUDIES = {
    "winner": "winner: {}",
    "contrast": "contrast: {field: backend, pairs: [[sdpa, naive]]}",
}


def shown(path: Path, *args: str) -> str:
    found = CliRunner(env={"COLUMNS": "200"}).invoke(cli, [*args, "--db", str(path)])
    assert found.exit_code in (0, 1), found.output
    return found.stdout


def stored(folder: Path, answer: str) -> Path:
    """A run of a study with two backends, of which one takes 1.53 times as long in every round."""
    text = f"question: x\nfamily: attn\nanswer: {{{answer}}}\nsweep:\n- {{q_len: [512]}}\n"
    fast, slow = attn("q512"), attn("q512", "naive")
    results = {
        fast: timed(fast, *ROUNDS),
        slow: timed(slow, *(1.53 * seconds for seconds in ROUNDS)),
    }
    path = folder / "results.db"
    with Store.open(path) as store:
        run = store_run(store, results, machine=H200)
        study = {"name": "mine", "text": text, "left_out": {}}
        store.replan(run, {"study": study, "methods": [ON_CPU.as_facts()]})
    return path


def row(text: str, *words: str) -> list[str]:
    (found,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return found.split()


@pytest.mark.parametrize("view", [(), ("--best",), ("--pivot", "backend")])
def test_a_report_prints_the_mean_of_the_rounds(tmp_path: Path, view: Sequence[str]) -> None:
    text = shown(stored(tmp_path, STUDIES["winner"]), "report", *view)
    assert MEAN in text
    assert "27.8" not in text


def test_report_diff_study_and_page_print_the_same_time_and_ratio(tmp_path: Path) -> None:
    path = stored(tmp_path, STUDIES["winner"])
    table = shown(path, "report")
    assert MEAN in row(table, "sdpa", "best")
    assert {"14.6", "1.53x"} <= {*row(table, "naive", "x")}
    best = row(shown(path, "report", "--best"), "q512")
    assert {MEAN, "1.53x"} <= {*best}
    across = row(
        shown(path, "diff", "--base", "1", "--head", "1", "--across", "backend=sdpa:naive"),
        "slower ",
        "q512",
    )
    assert {MEAN, "14.6", "+53.0"} <= {*across}
    study = row(shown(path, "study", "conclude", "1"), "q512  sdpa")
    assert {MEAN, "1.53x"} <= {*study}
    page = tmp_path / "page.html"
    shown(path, "report", "--html", str(page))
    texts = re.findall(r'"([^"]*)"', page.read_text())  # the columns of its tables
    assert {MEAN, "14.6", "1.53x"} <= {*texts}


def test_a_contrast_prints_the_ratio_of_the_times_that_are_shown(tmp_path: Path) -> None:
    text = shown(stored(tmp_path, STUDIES["contrast"]), "study", "conclude", "1")
    assert "+53.0" in row(text, "q512 ")


def test_json_of_a_diff_has_the_time_that_tables_show(tmp_path: Path) -> None:
    path = stored(tmp_path, STUDIES["winner"])
    across = ("--base", "1", "--head", "1", "--across", "backend=sdpa:naive")
    (case,) = json.loads(shown(path, "diff", *across, "--format", "json"))["cells"]
    assert case["base_s"] == pytest.approx(9.536e-3, rel=1e-3)
    assert case["ratio"] == pytest.approx(case["head_s"] / case["base_s"])


def test_a_change_over_fewer_rounds_than_a_side_has_says_so(tmp_path: Path) -> None:
    """Interleaved sides of which one was interrupted after two of three rounds."""
    case = attn("q512")
    path = tmp_path / "results.db"
    with Store.open(path) as store:
        store_run(store, {case: timed(case, *ROUNDS)}, interleaved="turns")
        store_run(store, {case: timed(case, *ROUNDS[:2])}, interleaved="turns")
    text = shown(path, "diff", "--base", "1", "--head", "2")
    assert row(text, "unclear ", "q512")[2:5] == [MEAN, "6.01", "+0.0"]
    assert "change of 1 case: over the rounds in which both sides have a time" in text
