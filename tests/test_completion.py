"""What a shell completes."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from attnbench.cli import cli
from attnbench.db.store import Store
from tests.stored_results import attn, store_run, timed

CASE = attn("q512")


def completed(*words: str) -> list[str]:
    """What may stand in place of the last word."""
    *before, last = words
    shell = BashComplete(cli, {}, "attnbench", "_ATTNBENCH_COMPLETE")
    return [item.value for item in shell.get_completions(before, last)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["atn"], []),
        (["dif"], ["diff"]),
        (["attn", "--soft"], ["--softcap"]),
        (["attn", "--backend", "flashinfer-fa"], ["flashinfer-fa2", "flashinfer-fa3"]),
        (["mla", "--backend", "torch-"], ["torch-absorbed", "torch-mha"]),
        (["study", "reorder"], ["reorder-threshold"]),
        (["study", "run", "reorder"], ["reorder-threshold"]),
        (["study", "show", "num"], ["numsplits"]),
        (["attn", "--model", "deep"], []),
        (["attn", "--backend", "sdpa", "na"], ["naive"]),
        (["attn", "--dtype", "bf16", "fp16", "--backend", "sdpa", "naive", "fle"], ["flex"]),
        (["attn", "--backend", "sdpa", "--rou"], ["--rounds"]),
        (["no such command", "x"], []),
        (["attn", "--thresholds", "--backend", "na"], ["naive"]),
        (["attn", "--batch-specs", "--rounds", ""], []),
    ],
)
def test_commands_options_backends_and_studies(words: list[str], expected: list[str]) -> None:
    assert completed(*words) == expected


BASH = """
PATH={bin}:$PATH; eval "$(_ATTNBENCH_COMPLETE=bash_source attnbench)"
for line in "attnbench dif" "attnbench attn --backend tri" "attnbench study run reor"; do
    COMP_WORDS=($line); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
    $(complete -p attnbench | sed 's/.*-F \\([^ ]*\\).*/\\1/') attnbench
    echo "${{COMPREPLY[@]}}"
done
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_by_the_documented_line() -> None:
    documented = (Path(__file__).parents[1] / "docs/reference/environment.md").read_text()
    assert 'eval "$(_ATTNBENCH_COMPLETE=bash_source attnbench)"' in documented
    program = BASH.format(bin=Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "--norc", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["diff", "triton", "reorder-threshold"]


def test_labels_and_numbers_come_from_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATTNBENCH_DB", raising=False)
    assert completed("report", "--run", "") == []
    for db in ("attnbench.db", "other.db"):
        with Store.open(db) as store:
            store_run(store, {CASE: timed(CASE, 1e-3)}, label=f"of-{db}")
    assert completed("report", "--run", "of") == ["of-attnbench.db"]
    assert completed("diff", "--db", "other.db", "--base", "of") == ["of-other.db"]
    assert completed("report", "--run", "1") == ["1"]
    assert completed("report", "--run", "la") == ["latest"]
    assert completed("--db", "other.db", "report", "--run", "of") == ["of-other.db"]
    assert completed("--db=other.db", "diff", "--base", "1", "--head", "of") == ["of-other.db"]
    assert completed("report", "--run", "1", "of") == ["of-attnbench.db"]
    for words in (["runs", "delete"], ["runs", "relabel"], ["study", "conclude"], ["repro"]):
        assert completed(*words, "") == ["1"]


@pytest.mark.parametrize(
    "words",
    [
        ["--db"],
        ["report", "--db"],
        ["runs", "list", "--db"],
        ["db", "merge"],
        ["ab", "--base-python"],
    ],
)
def test_files_are_left_to_the_shell(words: list[str]) -> None:
    shell = BashComplete(cli, {}, "attnbench", "_ATTNBENCH_COMPLETE")
    assert [item.type for item in shell.get_completions(words, "x")] == ["file"]


def test_a_database_of_an_older_schema_is_not_migrated_by_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("attnbench.db")) as connection:
        connection.executescript((Path(__file__).parent / "data/results_0001.sql").read_text())
    before = Path("attnbench.db").read_bytes()
    assert completed("report", "--run", "") == []
    assert Path("attnbench.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["attnbench.db"]


def test_a_file_that_is_no_database_completes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNBENCH_DB", str(tmp_path / "x.db"))
    (tmp_path / "x.db").write_text("notes, not a database, and longer than its header is\n")
    assert completed("report", "--run", "") == []
