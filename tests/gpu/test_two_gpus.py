"""Two GPUs of one host share a run."""

import os
import signal
import sqlite3
import subprocess
from collections import Counter, defaultdict
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.records import Measurement, Status
from tests.conftest import Attnbench, started, wait_for_sentinels
from tests.processes import exists, workers_of

pytestmark = pytest.mark.gpu

BOTH = ["--device", "cuda:0", "cuda:1"]
SWEEP = ["attn", "--backend", "naive", "sdpa", "--batch-specs", "q{1,2,4,8}kv{1k,4k}"]
PLACES = sorted(
    product(
        (f"q{q}kv{kv}" for q, kv in product((1, 2, 4, 8), ("1k", "4k"))),
        ("naive", "sdpa"),
        range(3),
    )
)


@pytest.fixture(autouse=True)
def _two_gpus() -> None:
    import torch

    if (count := torch.cuda.device_count()) < 2:
        pytest.skip(f"needs two GPUs of one host; torch finds {count}")


def measured(folder: Path) -> list[Measurement]:
    """The outcomes of the run, each of which is ok."""
    with Store.open(folder / "attnbench.db", create=False) as store:
        found = store.measurements([1])
    assert {each.status for each in found} == {Status.OK}
    return found


def spans(folder: Path) -> list[tuple[str, str]]:
    """When the first and the last outcome of each card were stored."""
    query = "SELECT min(stored), max(stored) FROM measurement GROUP BY machine_id"
    with closing(sqlite3.connect(folder / "attnbench.db")) as database:
        return database.execute(query).fetchall()


def check_all_once_on_two_cards(folder: Path) -> None:
    """Every place is stored once, each workload on one card, and both cards have some."""
    found = measured(folder)
    assert sorted((str(m.case.batch), m.case.backend, m.round) for m in found) == PLACES
    cards = defaultdict[str, set[str | None]](set)
    for each in found:
        cards[str(each.case.batch)].add(each.gpu_uuid)
    assert {len(on) for on in cards.values()} == {1}
    assert len(set.union(*cards.values())) == 2


def test_two_cards_share_a_sweep(tmp_path: Path, attnbench: Attnbench) -> None:
    done = attnbench(*SWEEP, *BOTH)
    assert done.returncode == 0, done.stderr
    check_all_once_on_two_cards(tmp_path)
    (first, last), (other_first, other_last) = spans(tmp_path)
    assert max(first, other_first) < min(last, other_last)  # both at the same time


def test_a_worker_killed_on_one_card_costs_no_outcome(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with started(tmp_path, environment, *SWEEP, *BOTH) as process:
        wait_for_sentinels(process, tmp_path)
        workers = workers_of(process.pid)
        os.kill(workers[0], signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "its case gets a second try" in errors
    check_all_once_on_two_cards(tmp_path)
    assert not any(map(exists, workers))


def test_the_only_visible_gpu_measures(tmp_path: Path, attnbench: Attnbench) -> None:
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    uuids = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    words = ["attn", "--backend", "sdpa", "--batch-specs", "q1kv1k", "--device", "all"]
    done = attnbench(*words, CUDA_VISIBLE_DEVICES="1")
    assert done.returncode == 0, done.stderr
    assert Counter(each.gpu_uuid for each in measured(tmp_path)) == {uuids[1]: 3}


def test_a_ray_cluster_of_this_host_measures_on_both(tmp_path: Path, attnbench: Attnbench) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'attnbench[cluster]'")
    done = attnbench(*SWEEP, "--ray", "local", TMPDIR="/tmp")
    assert done.returncode == 0, done.stderr
    check_all_once_on_two_cards(tmp_path)
