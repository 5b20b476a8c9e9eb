"""The end of a diff says what would settle unclear verdicts, and counts what has no partner."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from attnbench.cli import cli
from attnbench.db.models import RunRow
from attnbench.db.store import Store
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Outcome
from attnbench.results.unpaired import only_in
from attnbench.specs.case import Case
from attnbench.timing.method import Method
from tests.conftest import Attnbench
from tests.stored_results import (
    CPU,
    ENVIRONMENT,
    H200,
    ON_CPU,
    ON_GPU,
    SOURCE,
    attn,
    store_run,
    timed,
)

CASE, LONG = attn("q512"), attn("q8k")
ON_H200 = 20.0  # ms, which it can reach in fp32
OTHER = replace(SOURCE, commit="b" * 40)
STEADY = (1.0, 1.0005, 0.9995)
WILD, WILDLY = (1.0, 1.006, 0.994), (1.006, 0.994, 1.0)


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATTNBENCH_DB", raising=False)
    return "attnbench.db"


def rounds(case: Case, seconds: float, wobbles: Sequence[float]) -> list[Outcome]:
    """Rounds that took 4 s each, the first 10 s."""
    found = timed(case, *(seconds * wobble for wobble in wobbles))
    durations = [{"prepare": 8.0 if at == 0 else 2.0, "time": 2.0} for at in range(len(found))]
    return [replace(each, durations=d) for each, d in zip(found, durations, strict=True)]


def add(
    db: str,
    label: str,
    factor: float = 1.0,
    wobbles: Sequence[float] = STEADY,
    cases: Sequence[Case] = (CASE, LONG),
    python: str | None = None,
    environment: Environment = ENVIRONMENT,
    source: Source = SOURCE,
    interleaved: str | None = None,
    machine: Machine = CPU,
    method: Method | None = None,
) -> int:
    with Store.open(db) as store:
        results = {case: rounds(case, factor * 1e-3, wobbles) for case in cases}
        run = store_run(
            store,
            results,
            label=label,
            environment=environment,
            source=source,
            interleaved=interleaved,
            machine=machine,
            method=method or (ON_CPU if machine is CPU else ON_GPU),
        )
        store.replan(run, {**store.plan(run), "rounds": 3, "python": python})
        return run


def diff(db: str, *options: str) -> Result:
    sides = options or ("--base", "main", "--head", "pr")
    return CliRunner().invoke(cli, ["diff", "--db", db, "--margin", "1%", *sides])


def step(db: str, *options: str) -> dict[str, Any]:
    sides = options or ("--base", "main", "--head", "pr")
    found: dict[str, Any] = json.loads(diff(db, *sides, "--format", "json").stdout)["next_step"]
    return found


MEASURED = (
    "attn --backend sdpa --batch-specs q512 q8k --dtype fp32 --num-q-heads 32 --num-kv-heads 8 "
    "--head-dim 128 --cache cold --rounds {rounds} --device cpu"
)


def test_sides_whose_sessions_differ_too_much_are_to_take_turns(db: str) -> None:
    add(db, "main", python="/a/bin/python")
    add(db, "pr", 1.018, python="/b/bin/python", source=OTHER)
    found = step(db)
    rounds = found["rounds"]
    assert found == {
        "cases": 2,
        "rounds": rounds,
        "seconds": 2 * 2 * 10.0 * rounds,
        "interleaved": True,
        "commands": [
            "attnbench ab --base-python /a/bin/python --head-python /b/bin/python -- "
            + MEASURED.format(rounds=rounds)
        ],
    }


def test_the_text_ends_with_a_line_to_paste_however_narrow_the_terminal(db: str) -> None:
    add(db, "main", python="/a/bin/python")
    add(db, "pr", 1.018, python="/b/bin/python", source=OTHER)
    found = step(db)
    n = found["rounds"]
    *_, told, command, end = diff(db).stdout.split("\n")
    assert (command, end) == (found["commands"][0], "")
    text = " ".join(diff(db).stdout.split())
    assert (
        f"to settle 2 of 2 unclear cases, measure both sides alternately, {n} rounds each "
        f"(about {2 * 2 * 10 * n / 60:.0f} min, and {2 * n} worker starts):"
    ) in text
    assert told.endswith("):")


@pytest.mark.parametrize("python", [None, "/one/bin/python"])
def test_an_environment_that_is_not_known_or_was_changed_is_a_placeholder(
    db: str, python: str | None
) -> None:
    add(db, "main", python=python)
    add(db, "pr", 1.018, python=python, source=OTHER)
    assert step(db)["commands"][0].startswith("attnbench ab --base-python BASE/bin/python ")
    assert "BASE: the base's environment" in diff(db).stdout


def test_variables_that_differ_are_set_by_ab(db: str) -> None:
    add(db, "main", environment=replace(ENVIRONMENT, variables={"VLLM_X": "1", "VLLM_Y": "a b"}))
    add(db, "pr", 1.018, environment=replace(ENVIRONMENT, variables={"VLLM_X": "2"}))
    assert step(db)["commands"][0].startswith(
        "attnbench ab --base-env VLLM_X=1 'VLLM_Y=a b' --head-env VLLM_X=2 -- attn "
    )


def test_more_rounds_are_enough_where_sessions_agree(db: str) -> None:
    add(db, "main", ON_H200, wobbles=WILD, machine=H200)
    add(db, "pr", ON_H200, wobbles=WILDLY, machine=H200)
    found = step(db)
    assert (found["interleaved"], found["cases"]) == (False, 2)
    assert [line.partition(" --dtype")[0] for line in found["commands"]] == [
        "attnbench attn --backend sdpa --batch-specs q512 q8k"
    ] * 2
    assert [line.partition("--rounds ")[2] for line in found["commands"]] == [
        f"{found['rounds']} --label {label}" for label in ("main", "pr")
    ]
    assert f"measure {found['rounds']} rounds on each side (about" in " ".join(
        diff(db).stdout.split()
    )


def test_an_interleaved_run_is_repeated_as_it_was_asked_for(db: str) -> None:
    add(db, "main", wobbles=WILD, interleaved="mark")
    run = add(db, "pr", wobbles=WILDLY, interleaved="mark")
    asked = [
        "attnbench",
        "ab",
        "--head-env",
        "X=1",
        "--margin",
        "1%",
        "--",
        "attn",
        "--rounds",
        "3",
    ]
    with Store.open(db) as store, store.writing() as session:
        session.execute(update(RunRow).where(RunRow.number == run).values(argv=asked, command="ab"))
    (command,) = step(db)["commands"]
    assert command.startswith("attnbench ab --head-env X=1 --margin 1% -- attn --backend sdpa ")


def test_a_database_that_stood_before_the_command_is_named_once(db: str) -> None:
    add(db, "main", wobbles=WILD, interleaved="mark")
    run = add(db, "pr", wobbles=WILDLY, interleaved="mark")
    for before in (["--db", "near.db"], ["--db=near.db"]):
        asked = ["attnbench", *before, "ab", "--head-env", "X=1", "--", "attn"]
        with Store.open(db) as store, store.writing() as session:
            values = {"argv": asked, "command": "ab"}
            session.execute(update(RunRow).where(RunRow.number == run).values(values))
        (command,) = step(db)["commands"]
        assert command.startswith("attnbench ab --head-env X=1 -- attn ")
        assert "near.db" not in command


def test_two_backends_are_measured_again_in_one_run(db: str) -> None:
    both = (CASE, attn("q512", "naive"))
    add(db, "main", wobbles=WILD, cases=both[:1])
    add(db, "pr", wobbles=WILDLY, cases=both[1:])
    found = step(db, "--base", "main", "--head", "pr", "--across", "backend")
    assert found["commands"][0].startswith(
        "attnbench attn --backend sdpa naive --batch-specs q512 "
    )


def test_cases_that_no_command_measures_have_their_time_told(db: str) -> None:
    shorter = replace(ON_CPU, time_budget=0.1)
    add(db, "main", method=shorter, interleaved="mark", wobbles=WILD)
    add(db, "pr", method=shorter, interleaved="mark", wobbles=WILDLY)
    found = step(db)
    assert found["commands"] == []
    assert found["seconds"] == 2 * 2 * 10.0 * found["rounds"]


def test_what_no_number_of_rounds_settles_gets_no_command(db: str) -> None:
    add(db, "main")
    add(db, "pr", 1.0101)
    assert step(db) is None
    assert (
        "even 30 rounds on each side, measured alternately, would not settle what is"
        in diff(db).stdout
    )


def test_nothing_is_advised_where_nothing_is_unclear(db: str) -> None:
    add(db, "main")
    add(db, "pr")
    sides = ("--base", "main", "--head", "pr", "--margin", "5%")
    assert step(db, *sides) is None
    assert "unclear" not in diff(db, *sides).stdout


def equal_sides(db: str, wobbles: Sequence[tuple[float, ...]]) -> None:
    """Two runs alike, of as many cases as there are wobbles."""
    cases = [attn(f"q{at}k") for at in range(1, 1 + len(wobbles))]
    with Store.open(db) as store:
        for label in ("main", "pr"):
            results = {c: rounds(c, 1e-3, w) for c, w in zip(cases, wobbles, strict=True)}
            store_run(store, results, label=label)


@pytest.mark.parametrize(
    ("wobbles", "line"),
    [
        (
            [(0.998, 1.002, 1.0)],
            "the unclear case lies within 3 %: with --margin 3% it is the same",
        ),
        (
            [(0.998, 1.002, 1.0), (0.7, 1.2, 1.0), (0.98, 1.02, 1.0), (0.5, 1.0, 2.0)],
            "2 of 4 unclear cases lie within 10 %: with --margin 10% they are the same",
        ),
        (
            [(0.98, 1.02, 1.0), (0.5, 1.0, 2.0), (0.6, 1.0, 2.0)],
            "1 of 3 unclear cases lies within 10 %: with --margin 10% it is the same",
        ),
    ],
)
def test_the_text_names_a_margin_that_would_settle_half_of_them(
    db: str, wobbles: Sequence[tuple[float, ...]], line: str
) -> None:
    equal_sides(db, wobbles)
    assert line in " ".join(diff(db).stdout.split())
    count, margin = re.fullmatch(r"(\w+) .*--margin (\S+) .*", line).groups()  # type: ignore[union-attr]
    found = json.loads(
        diff(db, "--base", "main", "--head", "pr", "--margin", margin, "--format", "json").stdout
    )
    assert found["counts"]["same"] == (1 if count == "the" else int(count))


@pytest.mark.parametrize(("wobbles", "said"), [((0.5, 1.0, 2.0), True), ((1.0,), False)])
def test_where_rounds_spread_too_far_for_a_margin_it_says_that_the_machine_is_busy(
    db: str, wobbles: tuple[float, ...], said: bool
) -> None:
    equal_sides(db, [wobbles])
    text = " ".join(diff(db).stdout.split())
    busy = "no unclear case lies within 30 %: measure while the machine is quieter"
    assert (busy in text, "--margin" in text) == (said, False)


def test_the_line_is_one_that_ab_takes(attnbench: Attnbench, tmp_path: Path) -> None:
    file = str(tmp_path / "attnbench.db")
    add(file, "main", python="/a/bin/python")
    add(file, "pr", 1.018)
    found = attnbench(
        "diff", "--base", "main", "--head", "pr", "--margin", "1%", "--format", "json"
    )
    words = shlex.split(json.loads(found.stdout)["next_step"]["commands"][0])
    tried = attnbench(*words[1:], "--dry-run")
    assert "2 of 2 cases can run" in tried.stdout, tried.stderr


def test_each_run_stores_the_python_that_measured_it(attnbench: Attnbench, tmp_path: Path) -> None:
    small = ["--num-q-heads", "2", "--num-kv-heads", "1", "--head-dim", "8", "--device", "cpu"]
    attnbench("attn", "--backend", "sdpa", "--batch-specs", "q8", *small, "--rounds", "1")
    with Store.open(tmp_path / "attnbench.db") as store:
        assert Path(str(store.plan(1)["python"])).is_file()


@pytest.mark.parametrize(
    ("lonely", "other", "lines"),
    [
        ([("q1", "naive"), ("q2", "naive")], [("q1", "sdpa")], ["2 only in base: backend naive"]),
        ([("q4", "sdpa"), ("q2", "sdpa")], [("q1", "sdpa")], ["2 only in base: batch q4, q2"]),
        (
            [("q1", "naive"), ("q2", "naive"), ("q4", "sdpa")],
            [("q1", "sdpa"), ("q2", "sdpa")],
            ["2 only in base: backend naive", "1 only in base: batch q4"],
        ),
        (
            [("q1", "naive")],
            [("q1", "sdpa"), ("q2", "naive")],
            ["1 only in base: naive q1"],
        ),
        (
            [(f"q{n}", "sdpa") for n in range(2, 10)],
            [("q1", "sdpa")],
            ["8 only in base: batch q2, q3, q4, q5, q6, q7 and 2 more"],
        ),
    ],
)
def test_cases_without_a_partner_are_counted_by_what_the_other_side_lacks(
    lonely: list[tuple[str, str]], other: list[tuple[str, str]], lines: list[str]
) -> None:
    own, others = ([attn(spec, backend) for spec, backend in each] for each in (lonely, other))
    assert only_in("base", own, others, lambda case: f"{case.backend} {case.batch}") == lines


def test_no_margin_is_advised_that_would_hide_a_change(db: str) -> None:
    add(db, "main", ON_H200, machine=H200)
    add(db, "pr", 1.04 * ON_H200, machine=H200)
    text = " ".join(diff(db).stdout.split())
    assert "2 unclear" in text
    assert "with --margin" not in text
    assert "no repeated runs of this machine are stored, so a change must exceed more" in text


def test_one_round_is_said_to_show_no_spread(db: str) -> None:
    add(db, "main", ON_H200, wobbles=(1.0,), machine=H200)
    add(db, "pr", ON_H200, wobbles=(1.02,), machine=H200)
    text = diff(db).stdout
    assert "one round shows no spread: measure 3 rounds on each side" in " ".join(text.split())
    assert "needed" not in text.partition("2 unclear")[0]
