"""`attnbench diff` judges by the noise that selfcheck has stored, and says so."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from tests.stored_results import CPU, H200, attn, store_run, timed

CASE, LONG = attn("q512"), attn("q8k")
ASSUMED = (
    "no between-session variance is stored for this machine: sessions are assumed to differ by 1 %"
)


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "noise.db")


def measure(db: str, factor: float = 1.0, interleaved: str | None = None) -> None:
    """Two runs on a CPU of a case of 100 us and one of 1 ms, the second slower by a factor."""
    with Store.open(db) as store:
        for label, slowdown in (("base", 1.0), ("head", factor)):
            wobbles = [slowdown * wobble for wobble in (1, 1.001, 0.999)]
            results = {
                case: timed(case, *(time * wobble for wobble in wobbles))
                for case, time in ((CASE, 1e-4), (LONG, 1e-3))
            }
            store_run(store, results, label=label, interleaved=interleaved)


def remember(
    db: str,
    stratum: str,
    floor: float,
    session_sd: float | None,
    machine: Machine = CPU,
    family: str = "attn",
) -> None:
    with Store.open(db) as store:
        store.add_noise(
            machine_key=machine.key,
            machine_model=machine.model_key,
            family=family,
            stratum=stratum,
            floor=floor,
            session_sd=session_sd,
            num_cells=30,
            facts={},
        )


def diff(db: str, *options: str) -> Result:
    return CliRunner().invoke(
        cli, ["diff", "--base", "base", "--head", "head", "--db", db, *options]
    )


def verdicts(db: str) -> dict[str, str]:
    cells = json.loads(diff(db, "--format", "json").stdout)["cells"]
    return {cell["case"]["batch"]: cell["verdict"] for cell in cells}


def told(db: str) -> str:
    """The text without its line breaks."""
    return " ".join(diff(db).stdout.split())


def test_measured_sessions_make_equal_code_the_same(db: str) -> None:
    measure(db)
    assert verdicts(db) == {"q512": "unclear", "q8k": "unclear"}
    remember(db, "20 to 200 us", floor=0.002, session_sd=0.001)
    remember(db, "over 200 us", floor=0.001, session_sd=0.0005)
    assert verdicts(db) == {"q512": "same", "q8k": "same"}
    assert told(db).endswith(
        "a change within 1 % does not matter geometric mean of the 2 cases with a time on both "
        "sides: +0.0 % finds: the smallest change that would have been found four times in five "
        "selfcheck found that sessions differ by 0.05 to 0.1 % and equal code differs by up to "
        "0.1 to 0.2 %"
    )


def test_beside_same_stands_the_smallest_change_that_would_have_been_found(db: str) -> None:
    measure(db, interleaved="mark")
    cells = json.loads(diff(db, "--format", "json").stdout)["cells"]
    rows = [line.split() for line in diff(db).stdout.splitlines() if line.startswith("same ")]
    assert len(rows) == len(cells) == 2
    for row, cell in zip(rows, cells, strict=True):
        assert float(row[-1]) == pytest.approx(100 * cell["detectable"], abs=0.06)
        assert cell["detectable"] > 0.01


def test_no_change_within_the_floor_counts(db: str) -> None:
    measure(db, factor=1.03)
    remember(db, "20 to 200 us", floor=0.05, session_sd=0.001)
    remember(db, "over 200 us", floor=0.001, session_sd=0.001)
    assert verdicts(db) == {"q512": "same", "q8k": "slower"}


def test_what_selfcheck_has_not_measured_is_assumed_and_told(db: str) -> None:
    measure(db)
    remember(db, "20 to 200 us", floor=0.002, session_sd=0.001)
    assert told(db).endswith(
        "selfcheck found that sessions differ by 0.1 % and equal code differs by up to 0.2 % "
        "no between-session variance is stored for 1 of the 2 cases: sessions are assumed to "
        "differ by 1 %"
    )


def test_a_floor_without_sessions_is_used_too(db: str) -> None:
    measure(db)
    remember(db, "20 to 200 us", floor=0.002, session_sd=None)
    assert told(db).endswith(f"selfcheck found that equal code differs by up to 0.2 % {ASSUMED}")


@pytest.mark.parametrize(
    ("machine", "family", "stratum"),
    [
        (H200, "attn", "20 to 200 us"),
        (CPU, "mla", "20 to 200 us"),
        (CPU, "attn", "under 20 us"),
    ],
)
def test_noise_of_another_machine_family_or_duration_is_not_used(
    db: str, machine: Machine, family: str, stratum: str
) -> None:
    measure(db)
    remember(db, stratum, 0.002, 0.001, machine, family)
    assert told(db).endswith(ASSUMED)
    assert "selfcheck" not in told(db)


def test_interleaved_runs_need_no_session_variance(db: str) -> None:
    measure(db, interleaved="mark")
    assert verdicts(db) == {"q512": "same", "q8k": "same"}
    assert told(db).endswith("rounds were interleaved and are compared pair by pair")
    remember(db, "20 to 200 us", floor=0.002, session_sd=0.001)
    assert told(db).endswith(
        "rounds were interleaved and are compared pair by pair; selfcheck found that equal code "
        "differs by up to 0.2 %"
    )
