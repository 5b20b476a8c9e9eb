"""`attnbench db`: results carried from one database to another."""

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import attnbench
from attnbench.cli import cli
from attnbench.db.store import Store
from tests.stored_results import OK, ON_GPU, attn, store_run, timed

CASE, OTHER = attn("q512"), attn("q1k")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Run 1 "main" and run 2 "pr" of one case, two rounds each."""
    path = tmp_path / "here.db"
    with Store.open(path) as store:
        for label in ("main", "pr"):
            store_run(store, {CASE: timed(CASE, 1e-3, 1e-3)}, label=label)
    return path


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Run 1 "other" of another case."""
    path = tmp_path / "there.db"
    with Store.open(path) as store:
        store_run(store, {OTHER: timed(OTHER, 1e-3)}, label="other")
    return path


def db(*options: str | Path) -> Result:
    return CliRunner().invoke(cli, ["db", *map(str, options)])


def contents(path: Path) -> list[tuple[str | None, int, int]]:
    """Label, outcomes and samples of each run."""
    with Store.open(path, create=False) as store:
        found = []
        for run in store.runs():
            measurements = store.measurements([run.number])
            samples = sum(len(store.samples(each.id)) for each in measurements)
            found.append((run.label, len(measurements), samples))
        return found


def test_an_export_holds_all_runs_with_their_samples(here: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    found = db("export", target, "--db", here)
    assert found.exit_code == 0
    assert found.stdout == f"{target}: 2 new of 2 runs, 4 new outcomes, samples of 4\n"
    assert contents(target) == contents(here) == [("main", 2, 42), ("pr", 2, 42)]


def test_an_export_may_be_of_some_runs_without_samples(here: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    found = db("export", target, "--run", "pr", "2", "--no-samples", "--db", here)
    expected = "1 new of 1 runs, 2 new outcomes, samples of 0, run 2 is now 1"
    assert found.stdout == f"{target}: {expected}\n"
    assert contents(target) == [("pr", 2, 0)]


def test_exporting_again_adds_what_is_missing(here: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    db("export", target, "--no-samples", "--db", here)
    found = db("export", target, "--db", here)
    assert found.stdout == f"{target}: 0 new of 2 runs, 0 new outcomes, samples of 4\n"


def test_a_merge_adds_the_runs_of_other_databases_once(here: Path, there: Path) -> None:
    expected = f"{there}: 1 new of 1 runs, 1 new outcomes, samples of 1, run 1 is now 3\n"
    assert db("merge", there, "--db", here).stdout == expected
    assert [label for label, *_ in contents(here)] == ["main", "pr", "other"]
    again = db("merge", there, there, "--db", here)
    assert again.exit_code == 0
    assert (
        again.stdout.splitlines()
        == [f"{there}: 0 new of 1 runs, 0 new outcomes, samples of 0, run 1 is now 3"] * 2
    )


def test_a_merge_says_which_rounds_both_had(here: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(here, copy)
    for path in (here, copy):  # so the copy's is the later
        with Store.open(path) as store:
            store.add(1, CASE, ON_GPU, 7, 7, OK)
    told = "of rounds in both 1 replaced and 0 left out"
    assert db("merge", copy, "--db", here).stdout == (
        f"{copy}: 0 new of 2 runs, 1 new outcomes, samples of 1, {told}\n"
    )
    assert db("merge", copy, "--db", here).stdout.endswith("0 new outcomes, samples of 0\n")


def test_noise_that_came_is_told(here: Path, tmp_path: Path) -> None:
    with Store.open(here) as store:
        store.add_noise(
            machine_key="key",
            machine_model="model",
            family="attn",
            stratum="over 20 us",
            floor=0.004,
            session_sd=0.006,
            num_cells=40,
            facts={},
        )
    target = tmp_path / "copy.db"
    found = db("export", target, "--run", "2", "--db", here)
    assert found.stdout.endswith("samples of 2, 1 new noise floor, run 2 is now 1\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["merge", "none.db"], "none.db does not exist; expected a database to merge"),
        (["merge", "empty.db"], "empty.db holds no results to merge"),
        (["merge"], "Missing argument 'OTHER...'"),
        (["export", "copy.db", "--run", "nightly"], "nightly: no run"),
        (["export", "postgresql://team@host/db", "--parquet"], "does not name a folder"),
    ],
)
def test_what_cannot_be_carried_is_refused(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.db").touch()
    found = db(*options, "--db", here)
    assert found.exit_code == 2
    assert message in found.stderr


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("merge damaged.db --db new.db", None),
        ("merge there.db damaged.db --db new.db", ["other"]),
        ("merge damaged.db --db here.db", ["main", "pr"]),
        ("export new.db --db damaged.db", None),
    ],
)
def test_a_copy_that_fails_leaves_no_new_file_without_runs(
    here: Path, there: Path, monkeypatch: pytest.MonkeyPatch, words: str, left: list[str] | None
) -> None:
    monkeypatch.chdir(here.parent)
    shutil.copy(here, "damaged.db")
    with closing(sqlite3.connect("damaged.db")) as connection:
        connection.execute("DROP TABLE sample")
    assert db(*words.split()).exit_code == 2
    target = Path("here.db" if "here" in words.rpartition(" ")[2] else "new.db")
    assert ([label for label, *_ in contents(target)] if target.exists() else None) == left
    assert not list(Path().glob("new.db-*"))


def test_a_merge_leaves_a_file_of_an_older_schema_as_it_was(here: Path, tmp_path: Path) -> None:
    old = tmp_path / "old" / "a.db"
    old.parent.mkdir()
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript((Path(__file__).parent / "data/results_0001.sql").read_text())
    before = old.read_bytes()
    assert db("merge", old, "--db", here).exit_code == 0
    assert old.read_bytes() == before
    assert list(old.parent.iterdir()) == [old]


def test_parquet_files_hold_the_views_of_the_runs(here: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    folder = tmp_path / "new" / "exported"
    for _ in range(2):  # the second time over the files of the first
        found = db("export", folder, "--run", "pr", "--parquet", "--db", here)
        expected = "results.parquet 1 rows, rounds.parquet 2 rows, runs_flat.parquet 1 rows"
        assert found.stdout == f"{folder}: {expected}\n"
    assert sorted(path.stem for path in folder.iterdir()) == ["results", "rounds", "runs_flat"]
    for path in folder.iterdir():
        loaded = attnbench.load(here, path.stem)
        of_run = loaded[loaded.run == 2].reset_index(drop=True)
        read = parquet.read_table(path).to_pandas()
        assert list(read.columns) == list(of_run.columns)
        assert (
            read.astype(object)
            .where(read.notna(), None)
            .equals(of_run.astype(object).where(of_run.notna(), None))
        )


def test_parquet_of_more_rows_than_are_in_memory_at_once(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.setattr("attnbench.db.parquet._ROWS", 1)
    found = db("export", tmp_path / "out", "--parquet", "--db", here)
    assert "rounds.parquet 4 rows" in found.stdout


def test_a_folder_of_parquet_files_may_have_any_name(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.chdir(tmp_path)
    assert db("export", "gpu:H200", "--parquet", "--db", here).exit_code == 0
    assert Path("gpu:H200/rounds.parquet").stat().st_size > 0


def test_parquet_needs_a_folder_that_can_be_written(here: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for target, status, message in (
        (here, 2, "--parquet writes into a folder"),
        ("", 2, "'' does not name a folder"),
        (tmp_path / "out", 1, "out could not be written: Is a directory"),
    ):
        (tmp_path / "out" / "rounds.parquet").mkdir(parents=True, exist_ok=True)
        found = db("export", target, "--parquet", "--db", here)
        assert (found.exit_code, found.stdout) == (status, "")
        assert message in " ".join(found.stderr.split())


def test_parquet_needs_pyarrow(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = db("export", tmp_path / "out", "--parquet", "--db", here)
    assert found.exit_code == 2
    assert "pip install 'attnbench[data]'" in found.stderr.replace("\n", " ")
