"""Which of several findings of noise counts for a device."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from attnbench.db.noise import StoredNoise
from attnbench.db.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as store:
        yield store


def add(store: Store, device: str, floor: float, family: str = "attn", model: str = "H200") -> None:
    store.add_noise(
        machine_key=device,
        machine_model=model,
        family=family,
        stratum="over 20 us",
        floor=floor,
        session_sd=0.006,
        num_cells=40,
        facts={"runs": ["a", "b"], "false_verdicts": 1},
    )


def found(store: Store, device: str, model: str = "H200") -> float | None:
    noise = store.noise(device, model, "attn", "over 20 us")
    return None if noise is None else noise.floor


def test_noise_comes_back_as_it_went_in(store: Store) -> None:
    add(store, "card 1", 0.004)
    noise = store.noise("card 1", "H200", "attn", "over 20 us")
    assert noise is not None
    assert noise == StoredNoise(
        uuid=noise.uuid,
        machine_key="card 1",
        machine_model="H200",
        family="attn",
        stratum="over 20 us",
        floor=0.004,
        session_sd=0.006,
        num_cells=40,
        facts={"runs": ["a", "b"], "false_verdicts": 1},
        created=noise.created,
    )


def test_the_newest_of_the_very_device_counts(store: Store) -> None:
    for device, floor in (("card 1", 0.004), ("card 1", 0.005), ("card 2", 0.006)):
        add(store, device, floor)
    assert found(store, "card 1") == 0.005


def test_a_device_without_noise_has_the_newest_of_its_model(store: Store) -> None:
    for device, floor in (("card 1", 0.004), ("card 2", 0.006)):
        add(store, device, floor)
    assert found(store, "card 3") == 0.006


def test_noise_of_others_is_not_its_own(store: Store) -> None:
    add(store, "card 1", 0.004, model="H100")
    add(store, "card 2", 0.004, family="mla")
    assert found(store, "card 2") is None
    assert store.noise("card 1", "H100", "attn", "under 20 us") is None
