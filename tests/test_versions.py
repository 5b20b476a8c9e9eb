"""Names and order of the versions of the code under test."""

from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.provenance.environment import Component, Environment
from attnbench.provenance.source import Source
from attnbench.records import Run
from attnbench.results.versions import in_order_of_release, state_of, version_names
from tests.stored_results import SOURCE, start


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "v.db")


def release(store: Store, **versions: str) -> Run:
    """A run of these installed packages, in no git tree."""
    found = {name.replace("_", "-"): Component(version) for name, version in versions.items()}
    environment = Environment("3.11.2", components=found)
    return store.run(start(store, environment=environment, source=Source("none")))


def commit(store: Store, letter: str, dirty: str | None = None) -> Run:
    return store.run(start(store, source=replace(SOURCE, commit=letter * 40, dirty=dirty)))


def test_a_release_is_named_by_its_first_package(store: Store) -> None:
    runs = [release(store, vllm=each, torch="2.11.0") for each in ("0.25.1", "0.33.0")]
    assert version_names(runs) == ["vllm 0.25.1", "vllm 0.33.0"]


def test_and_by_the_next_one_where_that_tells_releases_apart(store: Store) -> None:
    runs = [
        release(store, vllm="0.25.1", flashinfer_python="0.6.13", torch="2.11.0"),
        release(store, vllm="0.25.1", flashinfer_python="0.6.14", torch="2.11.0"),
    ]
    assert version_names(runs) == [
        "vllm 0.25.1, flashinfer-python 0.6.13",
        "vllm 0.25.1, flashinfer-python 0.6.14",
    ]


def test_without_kernels_of_others_a_run_is_its_own_version(store: Store) -> None:
    runs = [release(store, torch="2.11.0") for _ in range(2)]
    assert version_names(runs) == ["run 1", "run 2"]
    assert state_of(runs[0]) != state_of(runs[1])


def test_runs_of_one_release_are_one_version(store: Store) -> None:
    one, same, other = (release(store, vllm=each) for each in ("0.25.1", "0.25.1", "0.33.0"))
    assert state_of(one) == state_of(same) != state_of(other)


def test_two_states_of_a_changed_tree_have_two_names(store: Store) -> None:
    runs = [commit(store, "a", "1234567"), commit(store, "a", "89abcde"), commit(store, "b", "12")]
    assert version_names(runs) == ["aaaaaaaaa*1234", "aaaaaaaaa*89ab", "bbbbbbbbb*"]


def test_releases_are_in_the_order_of_their_numbers(store: Store) -> None:
    listed = ["0.25.1", "0.9.2", "0.25.1rc1", "0.25.1rc2.dev3+g12", "1.0.dev1", "1.0"]
    runs = [release(store, vllm=each) for each in listed]
    places = in_order_of_release(runs)
    assert places is not None
    assert [listed[place] for place in places] == [
        "0.9.2",
        "0.25.1rc1",
        "0.25.1rc2.dev3+g12",
        "0.25.1",
        "1.0.dev1",
        "1.0",
    ]


def test_commits_among_releases_leave_the_order_of_measuring(store: Store) -> None:
    assert in_order_of_release([release(store, vllm="0.25.1"), commit(store, "a")]) is None
