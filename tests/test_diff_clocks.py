"""Cases at the power limit: `attnbench diff` judges their kernels by cycles."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.records import Outcome
from attnbench.specs.case import Case
from tests.stored_results import H200, ON_GPU, SOURCE, attn, store_run, timed

PREFILL, DECODE = attn("q8k", "flash", "bf16"), attn("64q1kv8k", "flash", "bf16")


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "clocks.db")


def at_clocks(
    case: Case, cycles: float, hz: tuple[float, ...], label: str | None = "power_limited"
) -> list[Outcome]:
    """A round at each clock, of so many cycles."""
    rounds = timed(case, *(cycles / each for each in hz), labels=(label,) if label else ())
    return [
        replace(each, guard={"sm_clock_hz_median": clock})
        for each, clock in zip(rounds, hz, strict=True)
    ]


def measure(
    db: str, factor: float = 1.0, case: Case = PREFILL, label: str | None = "power_limited"
) -> None:
    """Two runs; the head's clock is 5 % lower, its cycles are larger by a factor."""
    clocks = (1.70e9, 1.74e9, 1.66e9)
    with Store.open(db) as store:
        for name, lower, more in (("base", 1.0, 1.0), ("head", 0.95, factor)):
            hz = tuple(lower * each for each in clocks)
            results = {case: at_clocks(case, 1.5e6 * more, hz, label)}
            store_run(store, results, label=name, machine=H200, method=ON_GPU)


def diff(db: str, *options: str) -> Result:
    sides = ["--base", "base", "--head", "head"]
    return CliRunner().invoke(cli, ["diff", "--db", db, *sides, *options])


def cell(db: str) -> dict[str, object]:
    (found,) = json.loads(diff(db, "--format", "json").stdout)["cells"]
    return dict(found)


def test_a_lower_clock_is_no_change_of_the_kernel(db: str) -> None:
    measure(db)
    found = cell(db)
    assert (found["verdict"], found["ratio"]) == ("same", pytest.approx(1 / 0.95))
    assert found["cycles"]["ratio"] == pytest.approx(1.0)  # type: ignore[index]


def test_a_kernel_that_takes_more_cycles_is_slower_however_the_clock_moves(db: str) -> None:
    measure(db, factor=1.08)
    assert cell(db)["verdict"] == "slower"
    assert diff(db).exit_code == 1


def test_what_is_slower_by_the_clock_alone_fails_if_asked_to(db: str) -> None:
    with Store.open(db) as store:
        for name, hz in (("base", 1.98e9), ("head", 1.5e9)):
            results = {PREFILL: at_clocks(PREFILL, 1.5e6, (hz, 1.0001 * hz, 0.9999 * hz))}
            store_run(store, results, label=name, machine=H200, method=ON_GPU)
    found = diff(db)
    assert found.exit_code == 0
    assert "1 case is slower by the clock alone" in found.stdout
    assert diff(db, "--fail-on", "slower-time").exit_code == 1


@pytest.mark.parametrize(
    ("case", "label"),
    [(DECODE, "power_limited"), (PREFILL, None)],  # bound by memory; at a clock that stayed
)
def test_other_cases_are_judged_by_time(db: str, case: Case, label: str | None) -> None:
    measure(db, case=case, label=label)
    assert cell(db)["cycles"] is None


def test_clocks_of_some_cases_are_no_noise_of_the_others(db: str) -> None:
    """Most of the cases have a lower clock in the head; the short ones do not."""
    short = [attn(f"{n}q1kv1k", "flash", "bf16") for n in range(1, 13)]
    large = [attn(f"{n}q4k", "flash", "bf16") for n in range(1, 25)]
    with Store.open(db) as store:
        for name, lower in (("base", 0.0), ("head", 0.01)):
            results = {case: timed(case, 5e-5, 5.01e-5, 4.99e-5) for case in short}
            for n, case in enumerate(large):
                clock = 1.7e9 * (1 - lower * (1 + n % 6))
                results[case] = at_clocks(case, 1.5e6, (clock, 1.001 * clock, 0.999 * clock))
            store_run(store, results, label=name, machine=H200, method=ON_GPU)
    found = json.loads(diff(db, "--format", "json").stdout)
    assert abs(found["shift"]["ratio"] - 1) < 0.001
    assert {each["verdict"] for each in found["cells"]} == {"same"}


def test_runs_at_other_clocks_are_a_history_of_cycles(db: str) -> None:
    """Five, in which a case's times are up to 9 % apart and its cycles agree."""
    listed = [attn(f"{n}q4k", "flash", "bf16") for n in range(1, 25)]
    labels = [None, None, None, "base", "head"]
    with Store.open(db) as store:
        for session, label in enumerate(labels):
            results = {}
            for n, case in enumerate(listed):
                hz = 1.7e9 * (1 - 0.03 * ((session * (n + 1) + n // 4) % 4))
                more = 1.1 if label == "head" and n == 0 else 1.0
                results[case] = at_clocks(case, 1.5e7 * more, (hz, 1.001 * hz, 0.999 * hz))
            source = SOURCE if label else replace(SOURCE, commit="0" * 40)
            store_run(store, results, label=label, machine=H200, method=ON_GPU, source=source)
    cells = json.loads(diff(db, "--format", "json").stdout)["cells"]
    assert Counter(cell["verdict"] for cell in cells) == {"same": 23, "slower": 1}


def spread(outcome: Outcome, part: float) -> Outcome:
    """With samples that drift by that part, as they do while a clock falls."""
    middle = outcome.samples[len(outcome.samples) // 2]
    drift = tuple(middle * (1 + part * (at / 20 - 0.5)) for at in range(21))
    return replace(outcome, samples=drift)


@pytest.mark.parametrize(
    ("clock", "verdict"),
    [((1.4e9, 1.96e9), "slower"), ((1.66e9, 1.67e9), "unclear")],
    ids=["as far as the clock", "the clock stayed"],
)
def test_samples_of_a_case_in_cycles_may_spread_as_far_as_the_clock(
    db: str, clock: tuple[float, float], verdict: str
) -> None:
    ends = dict(zip(("sm_clock_hz_lowest", "sm_clock_hz_highest"), clock, strict=True))
    with Store.open(db) as store:
        for name, factor in (("base", 1.0), ("head", 1.08)):
            rounds = at_clocks(PREFILL, 1.5e6 * factor, (1.70e9,))
            wide = [replace(spread(r, 0.3), guard={**r.guard, **ends}) for r in rounds]
            store_run(store, {PREFILL: wide}, label=name, machine=H200, method=ON_GPU)
    assert cell(db)["verdict"] == verdict
