"""Labels: which are accepted, and that nothing in one reaches the terminal as a command."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.printable import printable
from attnbench.run_label import parse_label
from tests.stored_results import attn, store_run, timed

CASE = attn("q512")


@pytest.mark.parametrize("text", ["main", "pr-7", "v1.2", "latest-2", "3rd", "über", "feature: x"])
def test_a_name_is_a_label(text: str) -> None:
    assert parse_label(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the label '' names nothing; "),
        ("latest", "the label 'latest' always means the latest run; "),
        ("3", "the label '3' would read as a run's number; "),
        ("gpu:h100", "the label 'gpu:h100' would read as a gpu; "),
        ("a\nb", r"the label 'a\nb' has characters that cannot be shown"),
        ("\x1b[31mred", r"the label '\x1b[31mred' has characters that cannot be shown"),
        ("\udcff", r"the label '\udcff' has characters that cannot be shown"),
        (" main", "the label ' main' has characters that cannot be shown, or space around it"),
    ],
)
def test_what_reads_otherwise_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_label(text)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    "command",
    [
        ["attn", "--label", "latest"],
        ["ab", "--head-label", "latest", "--", "attn"],
        ["import", "x.csv", "--label", "latest"],
        ["runs", "relabel", "1", "latest"],
    ],
)
def test_every_command_that_labels_refuses_it(command: list[str]) -> None:
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert "the label 'latest' always means the latest run" in " ".join(done.stderr.split())


def test_an_old_label_with_escapes_is_written_out_where_it_is_shown(tmp_path: Path) -> None:
    db = str(tmp_path / "old.db")
    with Store.open(db) as store:
        store_run(store, {CASE: timed(CASE, 1e-3)}, label="a\x1b[2J\nzz")
    shown_by = (["runs"], ["report"], ["report", "--pivot", "label"], ["report", "x"])
    for command in (*shown_by, ["report", "--format", "markdown"]):
        shown = CliRunner().invoke(cli, [*command, "--db", db]).output
        assert "\x1b" not in shown
        assert "\nzz" not in shown
    assert r"a\x1b[2J\nzz" in CliRunner().invoke(cli, ["runs", "--db", db]).stdout


def test_only_what_cannot_be_shown_is_written_out() -> None:
    assert printable("plain é ±\t\u202e\x9b", keep="\t") == "plain é ±\t" + r"\u202e\x9b"


@pytest.mark.parametrize("view", [[], ["--pivot", "label"], ["--best"]])
def test_a_label_has_no_effect_in_markdown(view: list[str], tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    with Store.open(db) as store:
        store_run(store, {CASE: timed(CASE, 1e-3)}, label="<img src=x> @all |")
    found = CliRunner().invoke(cli, ["report", *view, "--format", "markdown", "--db", db])
    assert "&lt;img src=x> &#64;all" in found.stdout
    assert "<img" not in found.stdout
