"""Which runs a text names, and what is said when it names none or several sets."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.db.refs import Ref, resolve
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.source import Source
from tests.stored_results import H100, H200, REFUSED, backdate, fill, start

ONE, TWO, THREE = "0123456789" * 4, "abcdef0" + "1" * 33, "abcdef0" + "2" * 33
H20 = replace(H200, name="NVIDIA H20")


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as store:
        yield store


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs 1 to 6; only the last has no time."""
    main = Source("--source", "vllm", "main", ONE, None, "Speed up", "/src/vllm")
    topic = replace(main, branch="topic", commit=TWO)
    path = tmp_path_factory.mktemp("refs") / "filled.db"
    with Store.open(path) as store:
        fill(store, start(store, label="before", source=main))
        fill(store, start(store, label="main", source=main, machine=H100))
        fill(store, start(store, label="topic", source=topic))
        fill(store, start(store, label="2", source=Source("none"), machine=H20))
        other = replace(topic, branch=None, commit=THREE)
        fill(store, start(store, label="gpu:H200", source=other))
        fill(store, start(store, source=Source("none")), [REFUSED])
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Iterator[Store]:
    with Store.open(shutil.copy(filled, tmp_path)) as store:
        yield store


@pytest.mark.parametrize(
    ("text", "kind", "runs"),
    [
        ("before", "label", (1,)),
        ("label:before", "label", (1,)),
        ("label:main", "label", (2,)),
        ("label:gpu:H200", "label", (5,)),
        ("branch:main", "branch", (1, 2)),
        ("main", "label", (2,)),  # a label goes before a branch of its name
        ("topic", "label", (3,)),  # a branch of the same run too
        ("0123456", "commit", (1, 2)),
        (ONE, "commit", (1, 2)),
        ("commit:ABCDEF01", "commit", (3,)),
        ("abcdef02", "commit", (5,)),
        ("1", "run", (1,)),
        ("run:2", "run", (2,)),
        ("label:2", "label", (4,)),
        ("latest", "run", (5,)),
        ("run:latest", "run", (5,)),
        ("previous", "run", (4,)),
        ("run:previous", "run", (4,)),
        ("gpu:H200", "gpu", (1, 3, 5, 6)),
        ("gpu:h100 80gb", "gpu", (2,)),
        ("gpu:H20", "gpu", (4,)),
        ("gpu:NVIDIA", "gpu", (1, 2, 3, 4, 5, 6)),
    ],
)
def test_a_ref_names_runs(store: Store, text: str, kind: str, runs: tuple[int, ...]) -> None:
    assert resolve(store, text) == Ref(text, kind, runs)


def test_a_name_that_means_several_sets_of_runs_is_told_with_each(store: Store) -> None:
    with pytest.raises(UsageError) as error:
        resolve(store, "2")
    assert str(error.value) == ("2 has 2 meanings; say which:\n  label:2  run 4\n  run:2  run 2")


def test_a_label_called_latest_does_not_hide_the_latest_run(store: Store) -> None:
    store.relabel(1, "latest")
    assert resolve(store, "latest").runs == (5,)
    assert resolve(store, "run:latest").runs == (5,)
    assert resolve(store, "label:latest").runs == (1,)


def test_the_previous_run_is_of_the_command_of_the_latest(store: Store) -> None:
    fill(store, start(store, command="mla"))
    with pytest.raises(UsageError) as error:
        resolve(store, "previous")
    assert str(error.value) == (
        "previous: the latest run is the only one of its command with a measurement that is ok; "
        "measure again, or name the runs, e.g. --base main"
    )
    fill(store, start(store, command="attn"))
    assert resolve(store, "previous").runs == (5,)


def test_a_label_called_previous_goes_before_the_run(store: Store) -> None:
    store.relabel(1, "previous")
    assert resolve(store, "previous") == Ref("previous", "label", (1,))
    assert resolve(store, "run:previous").runs == (4,)


def test_a_label_may_be_called_like_a_kind(store: Store) -> None:
    store.relabel(1, "branch")
    assert resolve(store, "branch") == Ref("branch", "label", (1,))


def test_digits_that_begin_two_commits_are_too_few(store: Store) -> None:
    with pytest.raises(UsageError) as error:
        resolve(store, "abcdef0")
    assert str(error.value) == f"abcdef0 begins 2 commits; give more digits: {TWO}, {THREE}"


def test_an_unknown_name_is_told_with_those_that_exist(store: Store) -> None:
    with pytest.raises(UsageError) as error:
        resolve(store, "mian")
    assert str(error.value) == (
        "mian: no run has that label, branch, commit or number; known, newest first:\n"
        "  label: gpu:H200, 2, topic, main, before\n"
        "  branch: topic, main\n"
        "  commit: abcdef022222, abcdef011111, 012345678901\n"
        "  run: 6, 5, 4, 3, 2, ...\n"
        "  gpu: NVIDIA H200, NVIDIA H20, NVIDIA H100 80GB HBM3"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("branch:fix", "branch:fix: no run has that branch; known, newest first:\n"
         "  branch: topic, main"),
        ("gpu:B200", "gpu:B200: no run has that GPU; known, newest first:\n"
         "  gpu: NVIDIA H200, NVIDIA H20, NVIDIA H100 80GB HBM3"),
        ("commit:abcdef", "commit:abcdef: no run has that commit (7 digits or more); known, "
         "newest first:\n  commit: abcdef022222, abcdef011111, 012345678901"),
        ("run:", "run:: no run has that number; known, newest first:\n"
         "  run: 6, 5, 4, 3, 2, ..."),
    ],
)  # fmt: skip
def test_a_prefixed_name_is_looked_for_in_its_kind_alone(
    store: Store, text: str, message: str
) -> None:
    with pytest.raises(UsageError) as error:
        resolve(store, text)
    assert str(error.value) == message


def test_an_unknown_name_is_told_with_the_option_that_had_it(store: Store) -> None:
    with pytest.raises(UsageError, match=r"^--base mian: no run has that label"):
        resolve(store, "mian", "--base")


@pytest.mark.parametrize("text", ["latest", "main", "gpu:H200", "1"])
def test_without_runs_the_way_to_the_first_is_told(empty: Store, text: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(empty, text)
    assert str(error.value) == (
        f"{text}: there are no runs yet; measure first, e.g. attnbench attn"
    )


def test_without_a_time_there_is_no_latest_run(empty: Store) -> None:
    fill(empty, start(empty), [REFUSED])
    for text in ("latest", "previous"):
        with pytest.raises(UsageError, match=f"^{text}: no run has a measurement that is ok$"):
            resolve(empty, text)


def test_runs_stand_oldest_first_and_not_by_number(store: Store) -> None:
    backdate(store, 2, to_before=1)
    assert resolve(store, "branch:main").runs == (2, 1)
