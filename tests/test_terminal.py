"""What a terminal shows, and what a pipe in its place: pages, colours, and nothing cut."""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from tests.stored_results import attn, store_run, timed

LONG = "8q1kv1k_2q256_4q1kv2k_q512"
BOLD, YELLOW, RED, DIM, END = "\x1b[1m", "\x1b[33m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


@pytest.fixture
def db(tmp_path: Path) -> str:
    """Run 1 and run 2 with two backends and two batches; in run 2 one is slower."""
    path = tmp_path / "terminal.db"
    times = {
        attn(LONG): (1e-3, 1.001e-3, 1.002e-3),
        attn(LONG, "naive"): (3e-3, 3.001e-3, 3.002e-3),
        attn("q1k"): (1e-3, 1.3e-3, 1.1e-3),
        attn("q1k", "naive"): (1.1e-3, 1.05e-3, 1.3e-3),
    }
    slower = times | {attn(LONG): (1.2e-3, 1.201e-3, 1.202e-3)}
    with Store.open(path) as store:
        for label, of_run in (("main, by a name of many words", times), ("pr", slower)):
            results = {case: timed(case, *each) for case, each in of_run.items()}
            store_run(store, results, label=label)
    return str(path)


def through_a_terminal(folder: Path, *words: str, **variables: str) -> tuple[str, str]:
    """What a terminal of 10 lines shows, and what its pager receives."""
    pager = folder / "pager"
    pager.write_text(f"#!/bin/sh\ncat > {folder}/paged\n")
    pager.chmod(0o755)
    child, terminal = os.forkpty()
    if child == 0:
        os.environ |= {"PAGER": str(pager), "LINES": "10", "COLUMNS": "80", "TERM": "xterm"}
        os.environ |= variables
        os.execv(sys.executable, [sys.executable, "-m", "attnbench", *words])
    shown = b""
    with suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as stream:
        while some := stream.read(4096):
            shown += some
    os.waitpid(child, 0)
    paged = folder / "paged"
    return shown.decode().replace("\r\n", "\n"), paged.read_text() if paged.exists() else ""


def through_a_pipe(*words: str) -> str:
    return CliRunner().invoke(cli, words).stdout


def test_what_is_longer_than_the_terminal_is_paged(db: str, tmp_path: Path) -> None:
    table = through_a_pipe("report", "--db", db)
    assert through_a_terminal(tmp_path, "report", "--db", db) == ("", table)
    (tmp_path / "paged").unlink()
    shown, paged = through_a_terminal(tmp_path, "report", "--db", db, "--no-pager")
    assert (re.sub("\x1b.*?m", "", shown), paged) == (table, "")
    few = ["report", "--db", db, "--where", "batch=q1k", "backend=sdpa"]
    shown, paged = through_a_terminal(tmp_path, *few)
    assert ("q1k" in shown, paged) == (True, "")


@pytest.mark.parametrize(
    ("words", "coloured"),
    [
        (["report", "--no-pager"], [f"{BOLD}best{END}", f"{YELLOW}unclear{END}"]),
        (["report", "--best", "--no-pager"], [f"{BOLD}sdpa{END}", f"{YELLOW}naive{END}"]),
        (["diff", "--base", "1", "--head", "2"], [f"{RED}slower{END}", f"{DIM}same{END}"]),
    ],
)
def test_a_terminal_shows_places_and_verdicts_in_colour(
    db: str, tmp_path: Path, words: list[str], coloured: list[str]
) -> None:
    shown, _ = through_a_terminal(tmp_path, *words, "--db", db)
    assert [text for text in coloured if text not in shown] == []


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(db: str, tmp_path: Path, variables: dict[str, str]) -> None:
    words = ["diff", "--base", "1", "--head", "2", "--db", db]
    shown, _ = through_a_terminal(tmp_path, *words, **variables)
    assert ("slower" in shown, "\x1b" in shown) == (True, False)


@pytest.mark.parametrize(
    "words",
    [["report"], ["report", "--best"], ["runs"], ["diff", "--base", "1", "--head", "2"]],
)
def test_on_a_pipe_nothing_is_left_out_shortened_wrapped_or_coloured(
    db: str, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    shown = {}
    for columns in ("40", "5000"):
        monkeypatch.setenv("COLUMNS", columns)
        shown[columns] = through_a_pipe(*words, "--db", db)
    monkeypatch.delenv("COLUMNS")
    assert through_a_pipe(*words, "--db", db) == shown["5000"] != shown["40"]
    assert [text for text in ("a wider terminal", "..", "\x1b") if text in shown["5000"]] == []


def test_a_file_is_written_as_for_a_pipe(db: str, tmp_path: Path) -> None:
    narrow = ["report", "--db", db, "--output", str(tmp_path / "report.txt")]
    through_a_terminal(tmp_path, *narrow, COLUMNS="40")
    text = (tmp_path / "report.txt").read_text()
    assert ("GB/s" in text, "a wider terminal" in text, "\x1b" in text) == (True, False, False)


def test_a_narrow_terminal_leaves_out_columns_and_names_them_never_a_spec_or_backend(
    db: str, tmp_path: Path
) -> None:
    shown, _ = through_a_terminal(tmp_path, "report", "--db", db, "--no-pager", COLUMNS="45")
    assert "a wider terminal also shows: +- %," in shown
    spec = next(line for line in shown.splitlines() if "naive" in line and "q256" in line)
    assert spec.split()[0] == str(attn(LONG).batch)
