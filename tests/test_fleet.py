"""A fleet that pretends to measure: each outcome is stored once, and a crash leaves them whole."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.records import RunStatus, Status
from attnbench.timing.finished import Finished
from tests.stored_results import OK, ON_GPU, attn, start

ROOT = Path(__file__).parent.parent
SMALL = "--gpus 16 --hosts 2 --workloads 20 --backends 3 --rounds 3"
ALL = 20 * 3 * 3
LONG = "--gpus 16 --hosts 2 --workloads 400 --backends 3 --rounds 9 --seconds 0.01"


def fleet(path: Path, size: str, *options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "benchmarks/fleet.py", f"--db={path}", *size.split(), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_each_outcome_of_a_fleet_is_stored_once(tmp_path: Path) -> None:
    path, numbers = tmp_path / "fleet.db", tmp_path / "numbers.json"
    fleet(path, SMALL, f"--output={numbers}").wait(timeout=300)
    with Store.open(path) as store:
        found = store.measurements([1])
        assert store.run(1).status is RunStatus.FINISHED
    places = Counter((each.case_key, each.round) for each in found)
    assert set(places.values()) == {1}
    assert len(places) == ALL
    assert sorted(each.position for each in found) == list(range(ALL))
    assert json.loads(numbers.read_text())["commits"] < ALL  # several in one transaction


def test_a_driver_that_is_killed_leaves_whole_outcomes(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    driver = fleet(path, LONG)
    deadline = time.monotonic() + 200
    while stored(path) < 50:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    with Store.open(path) as store:
        found = store.measurements([1])
        assert len(found) == len({(each.case_key, each.round) for each in found}) >= 50
        assert all(len(store.samples(each.id)) == each.num_samples > 0 for each in found)


def stored(path: Path) -> int:
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        try:
            (count,) = connection.execute("SELECT count(*) FROM measurement").fetchone()
        except sqlite3.OperationalError:  # not created yet
            return 0
    return int(count)


def test_outcomes_that_are_stored_together_are_all_stored_or_none(tmp_path: Path) -> None:
    case = attn("q8")
    with Store.open(tmp_path / "r.db") as store:
        run = start(store)
        outcomes = [Finished(case, ON_GPU, round_, round_, OK) for round_ in range(3)]
        store.add_all(run, outcomes)
        store.add_all(run, outcomes)  # as after a commit that was not heard of
        assert [each.round for each in store.measurements([run])] == [0, 1, 2]
        taken = [Finished(case, ON_GPU, round_, round_, OK) for round_ in (3, 2)]
        with pytest.raises(AttnbenchError, match="another attnbench measures it too"):
            store.add_all(run, taken)
        assert store.run(run).counts == {Status.OK: 3}


def test_a_case_that_a_failed_transaction_added_is_added_again(tmp_path: Path) -> None:
    with Store.open(tmp_path / "r.db") as store:
        run = start(store)
        store.add(run, attn("q8"), ON_GPU, 0, 0, OK)
        new = Finished(attn("q16"), ON_GPU, 0, 1, OK)
        with pytest.raises(AttnbenchError):
            store.add_all(run, [new, Finished(attn("q8"), ON_GPU, 0, 0, OK)])
        store.add_all(run, [new])
        assert [each.case for each in store.measurements([run])] == [attn("q8"), attn("q16")]
