"""Runs carried between databases arrive whole and once, and the origin stays as it is."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.db import transfer
from attnbench.db.migrations import REVISIONS, Revisions
from attnbench.db.store import Store
from attnbench.db.transfer import export, merge
from attnbench.errors import UsageError
from attnbench.records import Outcome, RunStatus, Status, Transfer
from tests.conftest import small_case
from tests.stored_results import CASE, H100, OK, ON_GPU, REFUSED, backdate, fill, places, start


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Run 1 with sentinels and two outcomes, run 2 with one outcome."""
    with Store.open(tmp_path / "here.db") as store:
        fill(store, start(store, label="main"), [OK, REFUSED])
        store.add_sentinels(1, "start", {"bytes_per_second": 4.25e12})
        fill(store, start(store, label="pr", machine=H100))
        yield store


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    """A database whose run 1 has two outcomes of another case."""
    with Store.open(tmp_path / "there.db") as other:
        run = start(other, label="theirs")
        for round_ in range(2):
            other.add(run, small_case(backend="sdpa"), ON_GPU, round_, round_, OK)
        yield other


Told = dict[str, tuple[list[object], list[list[float]]]]


def content(store: Store) -> Told:
    """All that is stored of each run by its UUID, apart from numbers that are a file's own."""
    told: Told = {}
    for run in store.runs():
        measurements = store.measurements([run.number])
        facts = [replace(run, number=0), *(replace(each, id=0, run=0) for each in measurements)]
        samples = [store.samples(each.id).tolist() for each in measurements]
        others = [store.plan(run.number), store.sentinels(run.number)]
        told[run.uuid] = ([*facts, *others], samples)
    return told


def state(folder: Path) -> dict[str, str]:
    """A hash of every file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_an_export_holds_the_runs_whole(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "export.db"
    assert export(store, [2, 1], path) == Transfer({2: 1, 1: 2}, runs=2, measurements=3, samples=2)
    with Store.open(path, create=False) as exported:
        assert content(exported) == content(store)


def test_an_export_goes_on_in_small_batches_and_says_how_far_it_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_BATCH", 1)
    path, seen = tmp_path / "export.db", list[tuple[int, int]]()
    export(store, [1, 2], path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with Store.open(path, create=False) as exported:
        assert content(exported) == content(store)


def test_an_export_holds_only_the_runs_asked_for(store: Store, tmp_path: Path) -> None:
    export(store, [2], tmp_path / "export.db")
    with Store.open(tmp_path / "export.db") as exported:
        assert [(run.number, run.label) for run in exported.runs()] == [(1, "pr")]
    with pytest.raises(UsageError, match="there is no run 7"):
        export(store, [7], tmp_path / "export.db")


def test_an_export_again_adds_what_is_missing(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "export.db"
    export(store, [1], path)
    assert export(store, [1], path) == Transfer({1: 1}, runs=0, measurements=0, samples=0)
    store.add(1, CASE, ON_GPU, 2, 2, OK)
    store.finish_run(1, RunStatus.FINISHED)
    assert export(store, [1, 2], path) == Transfer({1: 1, 2: 2}, runs=1, measurements=2, samples=2)
    with Store.open(path, create=False) as exported:
        assert content(exported) == content(store)


def test_samples_can_be_left_out_and_added_later(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "export.db"
    assert export(store, [1, 2], path, samples=False).samples == 0
    with Store.open(path) as exported:
        medians = [each.median for each in exported.measurements([1, 2])]
        assert medians == [each.median for each in store.measurements([1, 2])]
        assert [exported.samples(id_).tolist() for id_ in (1, 2, 3)] == [[], [], []]
    assert export(store, [1, 2], path) == Transfer({1: 1, 2: 2}, runs=0, measurements=0, samples=2)
    with Store.open(path) as exported:
        assert content(exported) == content(store)


def test_a_merge_adds_the_runs_under_new_numbers(
    store: Store, other: Store, tmp_path: Path
) -> None:
    before = content(store)
    added = merge(store, [tmp_path / "there.db"])
    assert added == [Transfer({1: 3}, runs=1, measurements=2, samples=2)]
    assert content(store) == before | content(other)
    assert [run.label for run in store.runs()] == ["main", "pr", "theirs"]


def test_merging_twice_changes_nothing(store: Store, other: Store, tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    merge(store, [there])
    before = content(store)
    nothing = Transfer({1: 3}, runs=0, measurements=0, samples=0)
    assert merge(store, [there, there]) == [nothing, nothing]
    assert merge(store, [tmp_path / "here.db"])[0].measurements == 0
    assert content(store) == before


def test_what_both_have_stands_once(store: Store, other: Store, tmp_path: Path) -> None:
    path = tmp_path / "export.db"
    export(store, [1], path)
    merge(other, [path])
    (found,) = merge(store, [tmp_path / "there.db"])
    assert found == Transfer({1: 3, 2: 1}, runs=1, measurements=2, samples=2)


def test_a_merged_run_keeps_its_label_here_and_learns_how_it_ended(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "export.db"
    export(store, [1], path)
    with Store.open(path) as exported:
        exported.relabel(1, "their name")
        exported.finish_run(1, RunStatus.FINISHED)
    merge(store, [path])
    assert (store.run(1).label, store.run(1).status) == ("main", RunStatus.FINISHED)
    store.finish_run(1, RunStatus.INTERRUPTED)
    merge(store, [path])
    assert store.run(1).status is RunStatus.INTERRUPTED


WRONG = Outcome(Status.INCORRECT, "row 3 errs by 40 %")
LATER, EARLIER = replace(OK, samples=(9.0,)), OK


@pytest.mark.parametrize(
    ("first", "then", "stands"),
    [(EARLIER, LATER, LATER), (WRONG, LATER, WRONG), (EARLIER, WRONG, WRONG)],
)
@pytest.mark.parametrize("here_first", [True, False])
def test_of_a_round_measured_in_two_places_the_incorrect_outcome_or_the_later_stands(
    *,
    store: Store,
    tmp_path: Path,
    first: Outcome,
    then: Outcome,
    stands: Outcome,
    here_first: bool,
) -> None:
    path = tmp_path / "export.db"
    export(store, [1], path)
    with Store.open(path) as exported:
        places = (store, exported) if here_first else (exported, store)
        for place, outcome in zip(places, (first, then), strict=True):
            place.add(1, CASE, ON_GPU, 2, 2, outcome)
        exported.add(1, CASE, ON_GPU, 3, 3, OK)
        there = exported.measurements([1])
    (found,) = merge(store, [path])
    replaced = here_first == (stands is then)
    assert (found.replaced, found.left_out) == (int(replaced), int(not replaced))
    assert found.measurements == 1 + replaced
    merge(store, [path])
    merged = store.measurements([1])
    assert [each.status for each in merged][2:] == [stands.status, Status.OK]
    assert store.samples(merged[2].id).tolist() == list(stands.samples)
    export(store, [1], path)
    with Store.open(path) as exported:
        again = exported.measurements([1])
    assert len(again) == len(there)
    assert [each.median for each in again] == [each.median for each in merged]


def test_an_end_that_is_taken_over_brings_its_sentinels(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "export.db"
    store.add_sentinels(1, "end", {"bytes_per_second": 4.0e12})
    store.finish_run(1, RunStatus.INTERRUPTED)
    export(store, [1], path)
    with Store.open(path) as exported:
        exported.add_sentinels(1, "end", {"bytes_per_second": 4.2e12})
        exported.finish_run(1, RunStatus.FINISHED)
    merge(store, [path])
    assert store.sentinels(1)["end"] == {"bytes_per_second": 4.2e12}
    store.add_sentinels(1, "end", {"bytes_per_second": 3.0e12})
    store.finish_run(1, RunStatus.FINISHED)
    merge(store, [path])
    assert store.sentinels(1)["end"] == {"bytes_per_second": 3.0e12}


def add_noise(store: Store, floor: float) -> None:
    store.add_noise(
        machine_key=H100.key,
        machine_model=H100.model_key,
        family="attn",
        stratum="over 20 us",
        floor=floor,
        session_sd=None,
        num_cells=40,
        facts={"runs": ["a", "b"]},
    )


def test_noise_is_carried_once(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "export.db"
    asked = H100.key, H100.model_key, "attn", "over 20 us"
    add_noise(store, 0.01)
    assert export(store, [2], path).noise == 1
    assert export(store, [2], path).noise == 0
    with Store.open(path) as exported:
        assert exported.noise(*asked) == store.noise(*asked)
        add_noise(exported, 0.02)
    assert [found.noise for found in merge(store, [path, path])] == [1, 0]
    newest = store.noise(*asked)
    assert newest is not None
    assert newest.floor == 0.02


def test_a_merged_older_run_is_not_the_newest(store: Store, tmp_path: Path) -> None:
    with Store.open(tmp_path / "there.db") as there:
        fill(there, start(there, machine=H100), [Outcome(Status.OOM, "too big")] * 2)
    merge(store, [tmp_path / "there.db"])
    backdate(store, 3, to_before=1)
    assert places(store.measurements([1, 2, 3])) == [(1, 0), (1, 1), (2, 0)]


@pytest.fixture
def later(tmp_path: Path) -> Revisions:
    """The revisions of a later attnbench, with a column more."""
    folder = tmp_path / "later"
    shutil.copytree(REVISIONS.folder, folder)
    (folder / "next.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = 'next', '{REVISIONS.head}'\n"
        "def upgrade() -> None:\n"
        "    op.add_column('run', sa.Column('remark', sa.Text(), nullable=True))\n"
    )
    return Revisions(folder, "next")


def test_an_older_file_is_merged_and_stays_as_it_is(
    tmp_path: Path, other: Store, later: Revisions
) -> None:
    other.close()
    folder = tmp_path / "older"
    folder.mkdir()
    (tmp_path / "there.db").rename(folder / "there.db")
    before = state(folder)
    with Store.open(tmp_path / "new.db") as made:
        fill(made, start(made))
    notes: list[str] = []
    with Store.open(tmp_path / "new.db", note=notes.append, revisions=later) as store:
        assert merge(store, [folder / "there.db"])[0].measurements == 2
        assert [run.label for run in store.runs()] == ["theirs", None]
    assert len(notes) == 1
    assert state(folder) == before


def test_a_current_file_is_merged_and_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    export(store, [1], folder / "there.db")
    before = state(folder)
    merge(store, [folder / "there.db"])
    assert state(folder) == before


def test_a_file_that_cannot_be_merged_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.db does not exist"):
        merge(store, [tmp_path / "none.db"])
    (tmp_path / "notes.txt").write_text("these are my notes\n" * 100)
    with pytest.raises(UsageError, match=r"notes\.txt: file is not a database"):
        merge(store, [tmp_path / "notes.txt"])
