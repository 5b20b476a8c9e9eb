"""`attnbench diff` judges by the noise that it finds, and says where."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from tests.conftest import Attnbench
from tests.stored_results import CPU, H200, SOURCE, attn, store_run, timed

CASE, LONG = attn("q512"), attn("q8k")
OTHER = replace(SOURCE, commit="b" * 40)
TABLE = (
    "noise: a session moves one case by 0.7 % plus 87 % of its rounds' spread (sd on 4 degrees of "
    "freedom), all cases together by 0.2 %; from attnbench's own table of CPU"
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


def header(db: str) -> str:
    """What stands above the tables, without its line breaks."""
    return " ".join(diff(db).stdout.partition("\n\n")[0].split())


def test_where_nothing_is_stored_the_table_that_comes_with_attnbench_holds(db: str) -> None:
    measure(db)
    assert verdicts(db) == {"q512": "same", "q8k": "same"}
    assert header(db).endswith(TABLE)


def test_a_selfcheck_whose_runs_are_gone_still_counts(db: str) -> None:
    measure(db)
    remember(db, "20 to 200 us", floor=0.002, session_sd=0.03)
    assert verdicts(db) == {"q512": "unclear", "q8k": "same"}


def repeated(
    db: str,
    sessions: int,
    sd: float,
    machine: Machine = CPU,
    labels: tuple[str, ...] = (),
) -> None:
    """Runs of equal code, each of which shifts each case by its own amount."""
    rng = np.random.default_rng(1)
    listed = [attn(f"{n}q1kv1k") for n in range(1, 21)]
    with Store.open(db) as store:
        for _ in range(sessions):
            results = {
                case: timed(
                    case,
                    *(1e-4 * np.exp(rng.normal(0, sd) + rng.normal(0, 1e-3, 3))),
                    labels=labels,
                )
                for case in listed
            }
            store_run(store, results, source=OTHER, machine=machine)


@pytest.mark.parametrize(("sd", "verdict"), [(0.001, "same"), (0.03, "unclear")])
def test_runs_of_equal_code_tell_the_noise_of_a_machine(db: str, sd: float, verdict: str) -> None:
    measure(db)
    repeated(db, 4, sd)
    assert set(verdicts(db).values()) == {verdict}
    assert header(db).endswith("; from 4 repeated sessions of equal code here (20 cases)")


def test_the_noise_under_load_is_not_that_of_bursts(db: str) -> None:
    measure(db)
    repeated(db, 4, sd=0.03, labels=("sustained",))
    assert set(verdicts(db).values()) == {"same"}
    assert header(db).endswith(TABLE)


OWN = """
from attnbench.kernels.attn.sdpa import Sdpa
class Mine(Sdpa):
    name, aliases = "mine", ("my-sdpa",)
"""


@pytest.mark.parametrize(("backend", "verdict"), [("sdpa", "unclear"), ("mine", "slower")])
def test_what_moves_pytorchs_kernels_is_the_device_and_a_users_own_are_not_among_them(
    db: str, tmp_path: Path, attnbench: Attnbench, backend: str, verdict: str
) -> None:
    """Of equal sources and software, since no source says which code a user's file holds."""
    (tmp_path / "kernels" / "attn").mkdir(parents=True)
    (tmp_path / "kernels" / "attn" / "mine.py").write_text(OWN)
    listed = [replace(attn(f"{n}q1kv1k"), backend=backend) for n in range(1, 21)]
    with Store.open(db) as store:
        for label, time in (("base", 1e-4), ("head", 1.15e-4)):
            rounds = [time * wobble for wobble in (1, 1.001, 0.999)]
            store_run(store, {case: timed(case, *rounds) for case in listed}, label=label)
    done = attnbench(
        *("diff", "--base", "base", "--head", "head", "--db", db, "--format", "json"),
        ATTNBENCH_KERNELS=str(tmp_path / "kernels"),
    )
    assert {cell["verdict"] for cell in json.loads(done.stdout)["cells"]} == {verdict}


def test_runs_that_disagree_with_the_table_of_their_model_say_so(db: str) -> None:
    with Store.open(db) as store:
        for label in ("base", "head"):
            store_run(store, {CASE: timed(CASE, 1e-4, 1e-4, 1e-4)}, machine=H200, label=label)
    repeated(db, 6, 0.03, machine=H200)
    assert header(db).endswith("attnbench's table of NVIDIA H200 disagrees, and the larger holds")


def test_cases_that_scatter_beyond_the_known_noise_say_so_above_the_table(db: str) -> None:
    listed = [attn(f"{n}q1kv1k", "flash", "bf16") for n in range(1, 41)]
    rng = np.random.default_rng(1)
    with Store.open(db) as store:
        for label in ("base", "head"):
            moved = [1e-4 * float(factor) for factor in np.exp(rng.normal(0, 0.02, len(listed)))]
            results = {
                case: timed(case, time, 1.001 * time, 0.999 * time)
                for case, time in zip(listed, moved, strict=True)
            }
            store_run(store, results, label=label, machine=H200)
    assert header(db).endswith(
        "from attnbench's own table of NVIDIA H200; the cases of this diff scatter more, and that "
        "holds"
    )


def test_a_run_is_no_witness_of_its_own_change(db: str) -> None:
    """Base and head are of equal code, and the only runs that are."""
    measure(db, factor=1.2)
    assert verdicts(db) == {"q512": "slower", "q8k": "slower"}
    assert header(db).endswith(TABLE)


def test_beside_same_stands_the_smallest_change_that_would_have_been_found(db: str) -> None:
    measure(db, interleaved="mark")
    cells = json.loads(diff(db, "--format", "json").stdout)["cells"]
    rows = [line.split() for line in diff(db).stdout.splitlines() if line.startswith("same ")]
    assert len(rows) == len(cells) == 2
    for row, cell in zip(rows, cells, strict=True):
        assert float(row[-1]) == pytest.approx(100 * cell["detectable"], abs=0.06)
        assert cell["detectable"] > 0.01


def test_the_stored_floor_widens_no_margin(db: str) -> None:
    measure(db, factor=1.1)
    remember(db, "20 to 200 us", floor=0.2, session_sd=0.001)
    assert verdicts(db) == {"q512": "slower", "q8k": "slower"}


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
    remember(db, stratum, 0.002, 0.1, machine, family)
    assert verdicts(db) == {"q512": "same", "q8k": "same"}


def test_interleaved_runs_need_no_session_variance(db: str) -> None:
    measure(db, interleaved="mark")
    assert verdicts(db) == {"q512": "same", "q8k": "same"}
    assert header(db).endswith("noise: rounds were interleaved and are compared pair by pair")


def test_a_defect_ends_in_a_status_that_is_no_verdict(attnbench: Attnbench, db: str) -> None:
    """A stored time of 0 s, which nothing here writes."""
    measure(db)
    with sqlite3.connect(db) as connection:
        connection.execute("update measurement set median = 0")
    found = attnbench("diff", "--base", "base", "--head", "head", "--db", db)
    assert found.returncode == 70
    assert "Traceback" in found.stderr


def test_a_case_that_is_unclear_beyond_the_margin_has_its_reason_told(db: str) -> None:
    cases = [attn(f"{n}q1kv1k", "flash", "bf16") for n in range(1, 13)]
    with Store.open(db) as store:
        for label, moved in (("base", 1.0), ("head", 1.04)):
            times = {case: 1e-4 * (moved if case is cases[0] else 1.0) for case in cases}
            results = {case: timed(case, t, 1.001 * t, 0.999 * t) for case, t in times.items()}
            store_run(store, results, label=label, machine=H200)
    assert (
        "1 unclear case lies beyond the margin, but a few cases of a machine may have modes, "
        "some percent apart from run to run"
    ) in told(db)
