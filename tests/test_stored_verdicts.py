"""Equal code that was once called slower: stored sessions of one GPU, and two cards of a model."""

import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.db.transfer import merge
from tests.stored_results import attn, store_run, timed

RESULTS = Path(__file__).parent.parent / "docs" / "results"


@pytest.fixture(scope="module")
def selfchecks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(tmp_path_factory.mktemp("stored"), "selfcheck.db")


def unpacked(folder: Path, name: str) -> Path:
    (folder / name).write_bytes(lzma.decompress((RESULTS / f"{name}.xz").read_bytes()))
    return folder / name


def diff(db: Path, base: object, head: object, *options: str) -> dict[str, Any]:
    asked = ["diff", "--db", str(db), "--base", str(base), "--head", str(head)]
    done = CliRunner().invoke(cli, [*asked, "--format", "json", *options])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("runs", [(7, 3), (7, 4), (8, 3), (8, 4)])
def test_two_sessions_of_equal_code_are_not_called_changed(
    selfchecks: Path, runs: tuple[int, int]
) -> None:
    """4q1kv1k took 11.4 and 11.1 us in two sessions; the noise of sessions was stored as 0."""
    counts = diff(selfchecks, *runs)["counts"]
    assert counts.keys() <= {"same", "unclear"}
    assert counts["same"] >= 35


def test_two_cards_of_a_model_are_not_called_changed(selfchecks: Path, tmp_path: Path) -> None:
    """The same commit on two H200s: 4 of 18 cases were slower, by 2.1 to 2.8 %."""
    studies = unpacked(tmp_path, "h200_studies.db")
    noise = Path(shutil.copy(selfchecks, tmp_path / "noise.db"))
    with Store.open(studies) as store:
        merge(store, [noise])
    counts = diff(studies, 6, 7)["counts"]
    assert sum(counts.values()) == 18
    assert counts.keys() <= {"same", "unclear"}


def test_pooled_sessions_are_known_better_than_one(tmp_path: Path) -> None:
    file, case = tmp_path / "pooled.db", attn("q1k")
    with Store.open(file) as store:
        for label in ("main", "pr"):
            for at in range(5):
                times = [1e-3 * (1 + 0.001 * ((at + n) % 3)) for n in range(3)]
                store_run(store, {case: timed(case, *times)}, label=label)
    (one,), (pooled,) = (
        diff(file, "label:main", "label:pr", *options)["cells"] for options in ((), ("--pool",))
    )
    assert (one["base_rounds"], pooled["base_rounds"]) == (3, 15)
    assert pooled["high"] - pooled["low"] < 0.6 * (one["high"] - one["low"])
