"""Several devices in one command, as real processes; CPU workers stand in for GPUs."""

import os
import re
import signal
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.records import RunStatus, Status
from attnbench.running.devices import LocalDevice, local_devices
from tests.conftest import (
    Attnbench,
    Refused,
    started,
    wait_for_first_outcome,
    wait_for_sentinels,
)
from tests.processes import exists, workers_of

SHAPE = ["--num-q-heads", "4", "--num-kv-heads", "2", "--head-dim", "16"]
SWEEP = [*SHAPE, "--backend", "naive", "sdpa", "--batch-specs", "q{4,8,12,16,20}"]
TWO = ["attn", *SWEEP, "--rounds", "2", "--repeats", "3", "--device", "cpu", "cpu"]
ALL = {
    (f"q{length}", backend, round_)
    for length in (4, 8, 12, 16, 20)
    for backend in ("naive", "sdpa")
    for round_ in (0, 1)
}

Place = tuple[str, str, int]


def places(folder: Path) -> list[Place]:
    """Batch, backend and round of every outcome of run 1; all of them are ok."""
    with Store.open(folder / "attnbench.db", create=False) as store:
        found = store.measurements([1])
    assert {each.status for each in found} == {Status.OK}
    return [(str(each.case.batch), each.case.backend, each.round) for each in found]


def test_a_killed_worker_of_two_costs_no_outcome_and_doubles_none(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with started(tmp_path, environment, *TWO, "--repeats", "300") as process:
        wait_for_sentinels(process, tmp_path)
        first, _ = workers_of(process.pid)
        os.kill(first, signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "its case gets a second try" in errors
    assert sorted(places(tmp_path)) == sorted(ALL)
    assert "2 CPU workers share the cores of this machine" in errors
    assert {line.split("  ")[0] for line in errors.splitlines() if line.startswith("cpu ")} == {
        "cpu 1",
        "cpu 2",
    }


def test_an_interrupted_run_leaves_no_worker_and_goes_on_on_its_devices(
    tmp_path: Path, environment: dict[str, str], attnbench: Attnbench
) -> None:
    """By SIGTERM, which tests/faults/test_signals.py holds to end all as SIGINT does."""
    with started(tmp_path, environment, *TWO) as process:
        wait_for_first_outcome(process, tmp_path)
        workers = workers_of(process.pid)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert len(workers) == 2
    assert not any(map(exists, workers))
    before = places(tmp_path)
    assert 0 < len(before) < len(ALL)
    done = attnbench("attn", "--resume")
    assert done.returncode == 0, done.stderr
    after = places(tmp_path)
    assert sorted(after) == sorted(ALL)
    measured = [line for line in done.stderr.splitlines() if line.startswith("cpu ")]
    assert len(measured) == len(ALL) - len(before)
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert store.run(1).status is RunStatus.FINISHED


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (["cuda:0", "cuda"], "--device cuda:0 cuda:0 names cuda:0 twice; name each GPU once"),
        (["cpu", "cuda:0"], "--device cpu cuda:0: only GPUs share a run with GPUs"),
        (["all", "cuda:1"], "--device all cuda:1: only GPUs share a run with GPUs"),
        (["cuda:0,cuda:1"], "or several of these, e.g. --device cuda:0 cuda:1"),
        (["cpu", "tpu"], "--device 'tpu' is not a device; accepted are auto, all, cpu, cuda and"),
    ],
)
def test_devices_that_cannot_share_a_run_are_one_clear_error(
    refused: Refused, devices: list[str], message: str
) -> None:
    assert message in " ".join(refused("attn", "--device", *devices).split())


def test_a_dry_run_shares_the_time(attnbench: Attnbench) -> None:
    one, two = (
        attnbench(*TWO[:-2], *devices, "--dry-run") for devices in (["cpu"], ["cpu", "cpu"])
    )
    seconds = [
        re.search(r"~(\d+) s in total", " ".join(done.stdout.split())) for done in (one, two)
    ]
    assert all(seconds)
    assert [int(found[1]) for found in seconds if found] == [50, 25]
    assert "can run on 2 x " in two.stdout


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnbench.running.devices.gpus_seen_by_nvml", lambda: ["H200"] * 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        ("1", ["cuda:0"]),
        ("3,1", ["cuda:0", "cuda:1"]),
        ("0,9,1", ["cuda:0"]),  # CUDA stops at the first that is none
        ("GPU-5ef5,GPU-82a1", ["cuda:0", "cuda:1"]),
        ("", ["cpu"]),
    ],
)
def test_all_are_the_gpus_that_cuda_sees(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, names: list[str]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_devices(["all"]) == [LocalDevice(name, name) for name in names]


@pytest.mark.usefixtures("four_gpus")
def test_a_worker_of_a_mig_slice_sees_that_slice_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b,MIG-c")
    slices = [
        LocalDevice(f"cuda:{at}", "cuda:0", {"CUDA_VISIBLE_DEVICES": f"MIG-{name}"})
        for at, name in enumerate("abc")
    ]
    assert local_devices(["all"]) == slices
    assert local_devices(["cuda:2", "cuda:0"]) == [slices[2], slices[0]]
