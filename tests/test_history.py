"""`attnbench history`: the order of versions, the steps, and a bisection that finds its commit."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.environment import Component, Environment
from attnbench.provenance.source import Source
from attnbench.records import Status
from tests.conftest import OWN_KERNELS, SMALL
from tests.stored_results import ENVIRONMENT, SOURCE, attn, backdate, failed, store_run, timed

CASE, OTHER = attn("8q1kv1k"), attn("q512", "naive")
FLAT, SLOW = 1e-3, 1.2e-3


def commit(letter: str, dirty: str | None = None) -> Source:
    return replace(SOURCE, commit=letter * 40, subject=f"Commit {letter}", dirty=dirty)


def fill(path: Path, *times: float) -> None:
    """Commits a, b, c, ... one after the other, with three rounds each."""
    with Store.open(path) as store:
        for letter, time in zip("abcdef", times, strict=False):
            rounds = timed(CASE, time, 1.001 * time, 0.999 * time)
            store_run(store, {CASE: rounds, OTHER: timed(OTHER, FLAT)}, source=commit(letter))


def history(path: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["history", "--db", str(path), *options])


def test_a_step_is_shown_at_the_version_that_has_it(tmp_path: Path) -> None:
    fill(tmp_path / "h.db", FLAT, FLAT, SLOW, SLOW)
    found = history(tmp_path / "h.db", "--case", CASE.key[:8])
    assert found.exit_code == 0, found.output
    rows = [line for line in found.stdout.splitlines() if line[9:11] == "  " and "|" in line]
    assert [(row[:9], row.rsplit("|")[1].split()) for row in rows] == [
        ("aaaaaaaaa", ["*"]),
        ("bbbbbbbbb", ["*"]),
        ("ccccccccc", ["*", "+20.0", "%"]),
        ("ddddddddd", ["*"]),
    ]
    assert rows[0].index("*") < rows[2].index("*")
    text = " ".join(found.stdout.split())
    assert "slower by +20.0 % (95 % interval" in text
    assert 'at ccccccccc "Commit c"; before it bbbbbbbbb' in text
    assert "git bisect start ccccccccc bbbbbbbbb" in text


def test_a_version_that_was_incorrect_in_a_round_is_no_step(tmp_path: Path) -> None:
    fill(tmp_path / "h.db", FLAT, FLAT)
    with Store.open(tmp_path / "h.db") as store:
        wrong = [*timed(CASE, SLOW, SLOW), *failed(Status.INCORRECT, "off")]
        store_run(store, {CASE: wrong}, source=commit("c"))
    found = history(tmp_path / "h.db", "--case", CASE.key[:8])
    assert "bbbbbbbbb" in found.stdout
    assert "ccccccccc" not in found.stdout


def test_a_step_that_one_session_shows_is_to_be_measured_again(tmp_path: Path) -> None:
    advice = "one session shows it so far: measure this version again before a bisection"
    fill(tmp_path / "h.db", FLAT, FLAT, SLOW)
    assert advice in history(tmp_path / "h.db", "--case", CASE.key[:8]).stdout
    fill(tmp_path / "two.db", FLAT, FLAT, SLOW, SLOW)
    assert advice not in history(tmp_path / "two.db", "--case", CASE.key[:8]).stdout


def test_the_heading_names_what_was_asked_and_no_defaults(tmp_path: Path) -> None:
    fill(tmp_path / "h.db", FLAT)
    found = history(tmp_path / "h.db", "--where", "backend=naive")
    assert " ".join(found.stdout.split("case ")[0].split("\n")[1:]).strip() == (
        "dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128, kv_cache_dtype auto, "
        "scope kernel"
    )


def test_times_under_load_are_no_step_of_those_before(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        for letter, labels in zip("abcd", ((), (), ("sustained",), ("sustained",)), strict=True):
            time = SLOW if labels else FLAT
            rounds = timed(CASE, time, 1.001 * time, labels=labels)
            store_run(store, {CASE: rounds}, source=commit(letter))
    found = history(tmp_path / "h.db", "--case", CASE.key[:8])
    assert found.exit_code == 0, found.output
    assert "slower" not in found.stdout
    assert found.stdout.count("no step") == 2


def test_where_nothing_changed_that_is_said(tmp_path: Path) -> None:
    fill(tmp_path / "h.db", FLAT, FLAT, FLAT)
    text = " ".join(history(tmp_path / "h.db", "--where", "backend=sdpa").stdout.split())
    assert "no step: no lasting change beyond the margin and the noise" in text
    assert "git bisect" not in text


def test_a_change_within_the_margin_is_none(tmp_path: Path) -> None:
    fill(tmp_path / "h.db", FLAT, FLAT, SLOW, SLOW)
    assert "git bisect" in history(tmp_path / "h.db", "--case", CASE.key[:8]).stdout
    wide = history(tmp_path / "h.db", "--case", CASE.key[:8], "--margin", "30%").stdout
    assert "git bisect" not in wide


def test_runs_of_one_commit_are_one_version_and_changed_trees_another(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        for source in (commit("a"), commit("a"), commit("a", dirty="123")):
            store_run(store, {CASE: timed(CASE, FLAT)}, source=source)
    lines = history(tmp_path / "h.db", "--case", CASE.key[:8]).stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith("aaaaaaaaa")]
    assert [(row[0], row[4]) for row in rows] == [("aaaaaaaaa", "2"), ("aaaaaaaaa*", "1")]
    assert "*: with uncommitted changes" in lines


def test_the_spread_of_a_version_is_that_of_all_its_runs(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        for time in (100e-6, 150e-6):
            store_run(store, {CASE: timed(CASE, time, 1.01 * time)}, source=commit("a"))
    lines = history(tmp_path / "h.db", "--case", CASE.key[:8]).stdout.splitlines()
    (row,) = [line.split() for line in lines if line.startswith("aaaaaaaaa")]
    assert row[4:7] == ["2", "123", "20.9"]  # 101 % of 150 us less 100, halved, of their mean


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_plot_takes_the_room_there_is(tmp_path: Path, columns: str) -> None:
    with Store.open(tmp_path / "h.db") as store:
        for letter, time in zip("abcd", (FLAT, FLAT, SLOW, SLOW), strict=True):
            rounds = timed(CASE, time, 1.001 * time, 0.999 * time)
            store_run(store, {CASE: rounds}, source=commit(letter), label="a long label")
    words = ["history", "--db", str(tmp_path / "h.db"), "--case", CASE.key[:8]]
    shown = CliRunner(env={"COLUMNS": columns}).invoke(cli, words).stdout
    rows = [line for line in shown.splitlines() if re.match(r"([a-d])\1{8} ", line)]
    assert max(map(len, rows)) <= int(columns)
    assert rows[2].index("*") - rows[2].index("|") == {"80": 14, "120": 23}[columns]


def test_what_else_differs_at_a_step_is_told(tmp_path: Path) -> None:
    newer = Environment("3.11.2", components={"torch": Component("2.12.0")})
    with Store.open(tmp_path / "h.db") as store:
        for letter, time, environment in (("a", FLAT, ENVIRONMENT), ("b", SLOW, newer)):
            rounds = timed(CASE, time, time, time)
            store_run(store, {CASE: rounds}, source=commit(letter), environment=environment)
    found = history(tmp_path / "h.db", "--case", CASE.key[:8])
    assert "differs: torch 2.11.0 -> 2.12.0" in found.stdout.splitlines()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "history needs cases: --case with a key, or --where with conditions"),
        (["--case", "123456"], "--case 123456: no such case has a time"),
        (["--where", "backend=flash"], "backend=flash: no such case has a time"),
        (["--where", "colour=red"], "no measurement has a field 'colour'"),
    ],
)
def test_what_cannot_be_shown_is_refused(tmp_path: Path, options: list[str], message: str) -> None:
    fill(tmp_path / "h.db", FLAT)
    found = history(tmp_path / "h.db", *options)
    assert found.exit_code == 2
    assert message in found.stderr


def git(tree: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(tree), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commits(tree: Path, contents: list[str]) -> list[str]:
    """A repository whose file has these contents one after the other; the commits."""
    git(tree, "init", "-q")
    kernel = tree / "kernels" / "attn" / "mine.py"
    kernel.parent.mkdir(parents=True)
    found = []
    for number, text in enumerate(contents):
        kernel.write_text(text + f"# version {number}\n")
        git(tree, "add", ".")
        git(tree, "commit", "-q", "-m", f"Version {number}")
        found.append(git(tree, "rev-parse", "HEAD"))
    return found


def test_the_order_is_that_of_ancestry_where_git_knows_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    first, second, third = commits(tree, ["", "", ""])
    with Store.open(tmp_path / "h.db") as store:
        for each in (third, first, second):  # measured in this order, as by a bisection
            source = replace(SOURCE, commit=each)
            store_run(store, {CASE: timed(CASE, FLAT)}, source=source)
        backdate(store, 2, to_before=1)
    options = ["--case", CASE.key[:8], "--source", str(tree)]
    lines = history(tmp_path / "h.db", *options).stdout.splitlines()
    shown = [line[:9] for line in lines if "|" in line]
    assert shown == [each[:9] for each in (first, second, third)]
    measured = history(tmp_path / "h.db", "--case", CASE.key[:8], "--source", str(tmp_path))
    assert "in the order of measuring" in measured.stdout


# Backends, of which `clocked` takes the seconds that are set, by a fake clock.
FAST = (OWN_KERNELS / "attn" / "faulty.py").read_text()
SLOWED = FAST.replace('"CLOCKED_S", "1"', '"CLOCKED_S", "2"')


Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def in_tree(tmp_path: Path) -> Shell:
    """Runs shell commands in a tree of kernels, with a database and a lock of its own."""
    (tmp_path / "tree").mkdir()
    environment = os.environ | {
        "ATTNBENCH_KERNELS": "kernels",
        "ATTNBENCH_DB": str(tmp_path / "bisect.db"),
        "PATH": f"{_programs(tmp_path)}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ATTNBENCH_LOCK": str(tmp_path),
        "COLUMNS": "80",
    }
    return lambda command: subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path / "tree",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def lines_of_a_step(in_tree: Shell, tree: Path, versions: Mapping[str, str]) -> list[str]:
    """Measure these commits, each with its variables, and return the lines for git."""
    measure = f"attnbench attn --backend clocked --batch-specs q64 {' '.join(SMALL)} --repeats 10"
    for version, variables in versions.items():
        git(tree, "checkout", "-q", version)
        assert in_tree(f"{variables} {measure}").returncode == 0
    printed = in_tree("attnbench history --where backend=clocked").stdout.splitlines()
    return [line for line in printed if line.startswith("git ")]


def test_the_bisection_that_is_printed_finds_the_commit(tmp_path: Path, in_tree: Shell) -> None:
    """Five commits, of which the fourth made the kernel take twice as long."""
    tree = tmp_path / "tree"
    made = commits(tree, [FAST] * 3 + [SLOWED] * 2)
    start, bisect = lines_of_a_step(in_tree, tree, {made[0]: "", made[-1]: ""})
    assert (started := in_tree(start)).returncode == 0, started.stderr
    assert f"{made[3]} is the first bad commit" in in_tree(bisect).stdout


def test_a_step_that_is_gone_blames_no_commit(tmp_path: Path, in_tree: Shell) -> None:
    """Equal code, measured once while the machine was slow."""
    tree = tmp_path / "tree"
    made = commits(tree, [FAST] * 3)
    start, bisect = lines_of_a_step(in_tree, tree, {made[0]: "", made[-1]: "CLOCKED_S=2"})
    assert in_tree(start).returncode != 0
    assert in_tree(bisect).returncode != 0
    assert "first bad commit" not in in_tree("git bisect log").stdout


VERDICTS = """#!/bin/sh
# Measures by taking the next verdict of a list, and compares by it as `diff --fail-on` does.
if [ "$1" = attn ]; then echo >> measured; exit; fi
verdict=$(sed -n "$(wc -l < measured)p" verdicts)
case "$*" in *unclear) [ $verdict = same ] ;; *slower) [ $verdict != slower ] ;; esac
"""


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ("same", 0),
        ("slower", 1),
        ("unclear slower", 1),
        ("unclear unclear same", 0),
        ("unclear unclear unclear", 125),
    ],
)
def test_an_undecided_commit_is_measured_up_to_three_times(
    tmp_path: Path, verdicts: str, status: int
) -> None:
    fill(tmp_path / "h.db", FLAT, FLAT, SLOW, SLOW)
    printed = history(tmp_path / "h.db", "--case", CASE.key[:8]).stdout.splitlines()
    (script,) = [line[15:] for line in printed if line.startswith("git bisect run ")]
    (tmp_path / "verdicts").write_text(verdicts.replace(" ", "\n") + "\n")
    program = tmp_path / "attnbench"
    program.write_text(VERDICTS)
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == status
    assert len((tmp_path / "measured").read_text()) == len(verdicts.split())


def test_a_noisy_round_of_a_bisection_does_not_blur_its_next_session(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    fill(path, FLAT, FLAT, SLOW, SLOW)
    printed = history(path, "--case", CASE.key[:8]).stdout
    (label, *_) = re.findall(r"l=(\S+)\$", printed)
    compared = ["diff", "--db", str(path), "--margin", "9.54%", "--base", "commit:bbbbbbbbb"]
    statuses = []
    for noisy in (1.3 * FLAT, 1.001 * FLAT):
        with Store.open(path) as store:
            rounds = timed(CASE, FLAT, noisy, 0.999 * FLAT)
            store_run(store, {CASE: rounds}, label=f"{label}e", source=commit("e"))
        words = [*compared, "--head", f"label:{label}e", "--fail-on", "unclear"]
        statuses.append(CliRunner().invoke(cli, words).exit_code)
    assert statuses == [1, 0]


def test_a_bisection_does_not_compare_with_changes_on_top_of_a_commit(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    fill(path, FLAT, FLAT, SLOW, SLOW)
    slow = {CASE: timed(CASE, SLOW, SLOW, SLOW)}
    with Store.open(path) as store:
        store_run(store, slow, source=commit("b", dirty="123"))
    printed = history(path, "--case", CASE.key[:8]).stdout
    base = re.findall(r"--base (\S+) --head", printed)[0]
    with Store.open(path) as store:
        store_run(store, slow, label="e", source=commit("e"))
    words = ["diff", "--db", str(path), "--margin", "9.54%", "--base", base, "--head", "label:e"]
    assert "1 slower" in CliRunner().invoke(cli, words).output


def _programs(folder: Path) -> Path:
    """A folder in which `attnbench` is this one."""
    program = folder / "bin" / "attnbench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m attnbench "$@"\n')
    program.chmod(0o755)
    return program.parent
