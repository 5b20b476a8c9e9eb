"""`attnbench selfcheck` as a real process, and the noise that it stores."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import log
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.records import RunStatus, Status
from attnbench.reporting.selfcheck import selfcheck_text
from attnbench.results.selfcheck import find_and_store
from attnbench.running.plan import Plan, by_workload
from attnbench.running.selfcheck import PAIR, SINGLE, SelfCheck
from attnbench.specs.case import Case
from attnbench.timing.method import Method
from tests.conftest import Attnbench, small_case, started, wait_for_first_outcome
from tests.fake_worker import Does, FakeDevice, command
from tests.stored_results import Results, attn, cache_write, failed, store_run, timed

TINY = ["selfcheck", "--family", "attn", "--backend", "naive", "--batch-specs", "q4"]
TINY += ["--device", "cpu", "--rounds", "1", "--repeats", "3"]


def test_equal_code_is_measured_five_times_and_its_noise_is_stored(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    done = attnbench(*TINY)
    assert done.returncode == 0, done.stderr
    assert "runs 1 and 2 interleaved, 3, 4, 5 separate" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        labels = [run.label for run in store.runs()]
        (first, *_) = store.measurements([1])
        plans = [store.plan(number)["interleaved"] for number in (1, 2, 3, 4, 5)]
        strata = ("under 20 us", "20 to 200 us", "over 200 us")
        machine = first.machine_key, first.machine_model
        (noise,) = filter(None, (store.noise(*machine, "attn", each) for each in strata))
    assert labels == ["selfcheck-a", "selfcheck-b", "selfcheck", "selfcheck", "selfcheck"]
    assert plans[0] == plans[1] is not None
    assert plans[2:] == [None, None, None]
    assert noise.num_cells == 1
    assert noise.floor > 0
    assert noise.session_sd is not None
    assert noise.facts["interleaved"]["comparisons"] == 1
    assert len(noise.facts["runs"]) == 5


def test_an_interrupted_selfcheck_keeps_what_it_measured(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    long = [*TINY, "--backend", "naive", "paced"]
    with started(tmp_path, environment | {"PACED_MS": "3600000"}, *long) as process:
        wait_for_first_outcome(process, tmp_path)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert "interrupted; runs with results so far: 1\nit cannot be continued; begin again" in told
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert [run.status for run in store.runs()] == [RunStatus.INTERRUPTED]
        assert store.measurements([1])


def measure(store: Store, results: Sequence[Results]) -> list[int]:
    """An interleaved pair of runs and then separate ones, with these results."""
    return [
        store_run(store, each, interleaved="pair" if at < 2 else None)
        for at, each in enumerate(results)
    ]


def wobbling(cases: Sequence[Case], run: int) -> Results:
    """Three rounds of each case in a run, some tenths of a percent apart."""
    found = {}
    for at, case in enumerate(cases):
        time = 1e-4 * (1 + at) * (1 + 0.001 * ((run * (at + 3)) % 5))
        found[case] = timed(case, *(time * (1 + 0.001 * (r * (run + at) % 3)) for r in range(3)))
    return found


TEXT = """\
Equal code on Intel Xeon, 2 cores: runs 1 and 2 interleaved, 3, 4, 5, 6
separate.

How far equal code differs: 95 % of the interleaved cells stay within floor;
sessions is the standard deviation between separate runs, common that of what
shifts all cases of a run alike.

                                  floor  sessions  common
family       duration      cells      %         %       %
-----------  ------------  -----  -----  --------  ------
attn         20 to 200 us      1   0.40      0.12    0.17
attn         over 200 us       4   0.40      0.13    0.17
cache-write  over 200 us       1   0.20      0.17    0.17

How often that gives a false verdict, with the 95 % upper bound of the rate if
cases err independently, and the smallest change of a case that R rounds on each
side find four times in five.

                                                at most  R = 3  R = 5  R = 10
family       duration      runs          false        %      %      %       %
-----------  ------------  -----------  ------  -------  -----  -----  ------
attn         20 to 200 us  interleaved  0 of 1     95.0   1.31   1.22    1.14
attn         20 to 200 us  separate     0 of 2     77.6   3.42   3.42    3.42
attn         over 200 us   interleaved  0 of 4     52.7   1.31   1.22    1.14
attn         over 200 us   separate     0 of 8     31.2   3.42   3.42    3.42
cache-write  over 200 us   interleaved  0 of 1     95.0   1.31   1.22    1.14
cache-write  over 200 us   separate     0 of 2     77.6   3.42   3.42    3.42

interleaved: 0 of 6 verdicts false in 1 pair of runs, at most 39.3 %
separate: 0 of 12 verdicts false in 2 pairs of runs, at most 22.1 %
interleaved runs were judged by the noise known before, each pair of separate
  runs also by the other runs
with fewer than 20 cells the floor is the largest change
`attnbench diff` judges by these runs from now on
"""


def test_the_text_tells_how_large_the_noise_is_and_what_it_hides(tmp_path: Path) -> None:
    cases = [*(attn(f"q{at}") for at in range(1, 6)), cache_write(64, "NHD")]
    with Store.open(tmp_path / "attnbench.db") as store:
        runs = measure(store, [wobbling(cases, run) for run in range(6)])
        assert selfcheck_text(find_and_store(store, runs)) == TEXT.rstrip()


def test_cases_that_failed_in_a_run_are_left_out_and_counted(tmp_path: Path) -> None:
    here, gone, never = attn("q1"), attn("q2"), attn("q1", "flash")
    times = {here: timed(here, 1e-4), gone: timed(gone, 1e-4)}
    refused = {never: failed(Status.REFUSED, "needs an NVIDIA GPU")}
    broken = {**times, gone: failed(Status.CRASHED, "signal 9")}
    with Store.open(tmp_path / "attnbench.db") as store:
        found = find_and_store(
            store, measure(store, [{**each, **refused} for each in (times, times, broken, times)])
        )
    assert [each.num_cells for each in found.noises] == [1]
    assert found.left_out == 1
    text = selfcheck_text(found)
    assert "left out, having failed in some run: 1 case\n" in text + "\n"
    assert "noisy" not in text
    loud = replace(found, noises=[replace(each, floor=log(1.5)) for each in found.noises])
    said = " ".join(selfcheck_text(loud).split())
    assert "this machine is noisy: equal code measures up to 50.0 % apart; other" in said


def test_runs_without_a_time_tell_nothing(tmp_path: Path) -> None:
    refused = {attn("q1"): failed(Status.REFUSED, "needs an NVIDIA GPU")}
    with Store.open(tmp_path / "attnbench.db") as store:
        runs = measure(store, [refused] * 4)
        with pytest.raises(AttnbenchError, match="no case has a time in all runs"):
            find_and_store(store, runs)


@pytest.mark.usefixtures("own_lock")
def test_a_pair_takes_turns_in_fresh_workers_and_sessions_are_as_a_users_runs(
    tmp_path: Path,
) -> None:
    device, plan = FakeDevice(), Plan((small_case(),), (Method("cpu"),), rounds=2)
    asked = command(tmp_path, name="selfcheck")
    check = SelfCheck(asked, lambda _: plan, sessions=3, note=print, start=device.start)
    order = [(run.run, finished.round) for run, finished in check.outcomes()]
    assert order == [(1, 0), (2, 0), (2, 1), (1, 1), (3, 0), (3, 1), (4, 0), (4, 1), (5, 0), (5, 1)]
    assert check.succeeded
    assert [len(worker.jobs) for worker in device.workers] == [1, 1, 1, 1, 2, 2, 2]
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert [run.label for run in store.runs()] == [*PAIR, *[SINGLE] * 3]
        marks = [store.plan(run.number)["interleaved"] for run in store.runs()]
    assert marks[0] == marks[1] is not None
    assert marks[2:] == [None] * 3


@pytest.mark.usefixtures("own_lock")
def test_each_session_measures_the_same_cases_in_another_order_beside_other_neighbours(
    tmp_path: Path,
) -> None:
    """What ran before a case may move it: two commands with other batches differ in that."""
    cases = by_workload(
        [small_case(backend=b, spec=f"q{n}") for n in range(1, 9) for b in ("naive", "sdpa")]
    )
    device, plan = FakeDevice(), Plan(cases, (Method("cpu"),), rounds=1)
    check = SelfCheck(command(tmp_path), lambda _: plan, 3, print, device.start)
    orders: dict[int, list[Case]] = {}
    for run, finished in check.outcomes():
        orders.setdefault(run.run, []).append(finished.case)
    assert orders[1] == orders[2] == list(cases)
    assert all(set(order) == set(cases) for order in orders.values())
    before = {run: dict(pairwise(order)) for run, order in orders.items()}
    for one, other in pairwise((2, 3, 4, 5)):
        alike = sum(before[one].get(case) == before[other].get(case) for case in cases)
        assert alike <= len(cases) / 2
    for order in orders.values():  # the implementations of a workload stay together
        assert list(by_workload(order)) == order


@pytest.mark.usefixtures("own_lock")
def test_a_selfcheck_in_which_a_run_lacks_a_time_has_not_succeeded(tmp_path: Path) -> None:
    device = FakeDevice({"naive": Does(dies="SIGSEGV")})
    plan = Plan((small_case(),), (Method("cpu"),))
    check = SelfCheck(command(tmp_path), lambda _: plan, 2, print, device.start)
    list(check.outcomes())
    assert not check.succeeded
