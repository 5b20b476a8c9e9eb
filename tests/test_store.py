"""What is stored comes back as it was."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError, UsageError
from attnbench.provenance.environment import Component, Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Measurement, Outcome, RunStatus, Status
from attnbench.stats.median import median_interval
from tests.conftest import small_case
from tests.stored_results import (
    CASE,
    H100,
    H200,
    OK,
    ON_GPU,
    REFUSED,
    SOURCE,
    backdate,
    fill,
    places,
    start,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as store:
        yield store


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("law") / "results.db") as store:
        yield store


START = {"bytes_per_second": 4.25e12, "launch_seconds": None}
END = {"bytes_per_second": 4.2e12, "launch_seconds": 1.1e-6}

counts = st.integers(0, 2**31 - 1)
amounts = st.floats(0, allow_infinity=False, allow_nan=False)
names = st.text(max_size=8)
finite = st.floats(allow_infinity=False, allow_nan=False)
outcomes = st.builds(
    Outcome,
    status=st.sampled_from(Status),
    reason=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    samples=st.lists(st.floats(), max_size=9).map(tuple),
    calls_per_sample=counts,
    sets=counts,
    cache_state=st.sampled_from(["cold", "mixed", "hot", ""]),
    touched_bytes=st.integers(0, 2**63 - 1),
    flops=amounts,
    bytes=amounts,
    decode_requests=counts,
    decode_tokens=counts,
    prefill_requests=counts,
    prefill_tokens=counts,
    resolved=st.dictionaries(names, names | finite | st.booleans() | st.integers()),
    labels=st.lists(names, max_size=3).map(tuple),
    errors=st.dictionaries(names, st.floats()),
    durations=st.dictionaries(names, st.floats()),
    warmup_calls=counts,
    peak_memory=st.none() | st.integers(0, 2**63 - 1),
    footprint_ratio=st.none() | amounts,
    guard=st.dictionaries(names, st.floats()),
    kernels=st.lists(names, max_size=3).map(tuple),
    kernel_seconds=st.none() | amounts,
    enqueue_seconds=st.none() | amounts,
    plan_seconds=st.none() | amounts,
)


def outcome_of(store: Store, measurement: Measurement) -> Outcome:
    """The outcome that a measurement was stored from."""
    return replace(measurement.outcome, samples=tuple(store.samples(measurement.id).tolist()))


@settings(max_examples=40)
@given(outcome=outcomes)
def test_an_outcome_comes_back_as_it_went_in(kept: Store, outcome: Outcome) -> None:
    run = start(kept)
    kept.add(run, CASE, ON_GPU, 0, 7, outcome)
    (measurement,) = kept.measurements([run])
    # As text, because NaN equals nothing and True equals 1.
    assert repr(outcome_of(kept, measurement)) == repr(outcome)


@settings(max_examples=40)
@given(bits=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=9))
def test_samples_come_back_bit_for_bit(kept: Store, bits: list[int]) -> None:
    raw = struct.pack(f"<{len(bits)}Q", *bits)
    samples = struct.unpack(f"<{len(bits)}d", raw)
    (id_,) = fill(kept, start(kept), [Outcome(Status.INCORRECT, "wrong", samples)])
    assert kept.samples(id_).astype("<f8").tobytes() == raw


def test_a_measurement_says_what_identifies_it(store: Store) -> None:
    run = start(store)
    store.add(run, CASE, ON_GPU, 2, 5, OK)
    (found,) = store.measurements([run])
    assert (found.case, found.case_key) == (CASE, CASE.key)
    assert found.workload_key == CASE.workload_key
    assert (found.method, found.method_key) == (ON_GPU.as_facts(), ON_GPU.key)
    assert (found.machine_key, found.machine_model) == (H200.key, H200.model_key)
    assert found.machine_name == "NVIDIA H200"
    assert (found.run, found.round, found.position) == (run, 2, 5)


def test_an_ok_outcome_has_a_median_and_its_interval(store: Store) -> None:
    samples = tuple(1e-5 + 1e-7 * (i * 37 % 101) for i in range(101))
    run = start(store)
    fill(store, run, [replace(OK, samples=samples)])
    (found,) = store.measurements([run])
    assert found.median == median(samples)
    assert (found.low, found.high) == median_interval(samples)
    assert found.num_samples == 101


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_what_is_not_ok_has_no_time(store: Store, status: Status) -> None:
    run = start(store)
    (id_,) = fill(store, run, [Outcome(status, "why", samples=(1e-5,))])
    (found,) = store.measurements([run])
    assert (found.status, found.outcome.reason) == (status, "why")
    assert (found.median, found.low, found.high) == (None, None, None)
    assert store.samples(id_).tolist() == [1e-5]


def test_a_reason_that_no_text_column_holds_is_escaped(store: Store) -> None:
    run = start(store)
    fill(store, run, [Outcome(Status.ERROR, "no file b\udcffd\0")])
    assert store.measurements([run])[0].outcome.reason == "no file b\\udcffd\\x00"


def test_a_round_is_stored_once(store: Store) -> None:
    run = start(store)
    fill(store, run)
    with pytest.raises(AttnbenchError, match=f"run {run} has this outcome already"):
        fill(store, run)
    assert len(store.measurements([run])) == 1


def test_a_report_reads_no_samples(store: Store) -> None:
    run = start(store)
    fill(store, run)
    statements: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    store.measurements([run])
    store.runs()
    assert statements
    assert not [each for each in statements if "FROM sample" in each or "JOIN sample" in each]


def test_a_run_tells_its_whole_story(store: Store) -> None:
    before = datetime.now(UTC)
    torch = Component("2.11.0", "70d99e998")
    environment = Environment("3.11.7", cudnn=91002, components={"torch": torch})
    options = {"backends": ["naive"]}
    run = start(store, label="pr", environment=environment, options=options)
    fill(store, run, [OK, OK, REFUSED])
    store.finish_run(run, RunStatus.FINISHED)
    found = store.run(run)
    assert (found.number, found.command, found.argv) == (1, "attn", ("attnbench", "attn"))
    assert (found.label, found.branch, found.commit) == ("pr", SOURCE.branch, SOURCE.commit)
    assert found.status is RunStatus.FINISHED
    assert found.finished is not None
    assert before <= found.started <= found.finished <= datetime.now(UTC)
    assert found.options == options
    assert store.plan(run) == {"rounds": 3}
    assert Machine.from_facts(found.machine) == H200
    assert Environment.from_facts(found.environment) == environment
    assert Source(**found.source) == SOURCE  # type: ignore[arg-type]
    assert found.counts == {Status.OK: 2, Status.REFUSED: 1}
    assert store.runs() == [found]


def test_another_driver_is_kept_apart_on_the_same_machine(store: Store) -> None:
    old, new = replace(H200, driver="570.1"), replace(H200, driver="580.2")
    runs = [store.run(start(store, machine=machine)) for machine in (old, new)]
    assert [run.machine["driver"] for run in runs] == ["570.1", "580.2"]
    assert runs[0].machine_key == runs[1].machine_key


def test_what_is_done_of_a_run_is_known(store: Store) -> None:
    run, other = start(store), start(store)
    fill(store, run, [OK, REFUSED])
    fill(store, other, [OK] * 3)
    expected = {(0, Status.OK), (1, Status.REFUSED)}
    assert store.done(run) == {(CASE.key, ON_GPU.key, *each) for each in expected}


def test_the_latest_run_is_the_newest_with_a_time(store: Store) -> None:
    assert store.latest_run() is None
    first, second, third = start(store), start(store), start(store)
    assert store.latest_run() is None
    for run, outcome in ((first, OK), (second, OK), (third, REFUSED)):
        fill(store, run, [outcome])
    latest = store.latest_run()
    assert latest is not None
    assert latest.number == second
    backdate(store, second, to_before=first)
    latest = store.latest_run()
    assert latest is not None
    assert latest.number == first


def test_the_latest_unfinished_run_is_of_its_command_and_machine(store: Store) -> None:
    killed, interrupted, finished, other = (start(store) for _ in range(4))
    store.finish_run(interrupted, RunStatus.INTERRUPTED)
    store.finish_run(finished, RunStatus.FINISHED)
    store.finish_run(other, RunStatus.FINISHED)
    start(store, command="mla")
    start(store, machine=H100)
    found = store.latest_unfinished("attn", [H200.key])
    assert found is not None
    assert (found.number, found.status) == (interrupted, RunStatus.INTERRUPTED)
    store.finish_run(interrupted, RunStatus.FINISHED)
    found = store.latest_unfinished("attn", [H200.key])
    assert found is not None
    assert (found.number, found.status, found.finished) == (killed, RunStatus.RUNNING, None)
    assert store.latest_unfinished("cache-write", [H200.key]) is None


def test_a_resumed_run_is_running_again(store: Store) -> None:
    run = start(store)
    store.finish_run(run, RunStatus.INTERRUPTED)
    store.finish_run(run, RunStatus.RUNNING)
    assert (store.run(run).status, store.run(run).finished) == (RunStatus.RUNNING, None)


def test_a_run_can_be_relabelled(store: Store) -> None:
    run = start(store, label="pr")
    store.relabel(run, "main")
    assert store.run(run).label == "main"
    store.relabel(run, None)
    assert store.run(run).label is None


def test_what_the_device_reached_is_stored_by_moment(store: Store) -> None:
    run, other = start(store), start(store)
    store.add_sentinels(run, "start", START)
    assert store.sentinels(run) == {"start": START}
    store.add_sentinels(run, "end", END)
    assert store.sentinels(run) == {"start": START, "end": END}
    assert store.sentinels(other) == {}


def test_a_resumed_run_keeps_its_first_start_and_its_last_end(store: Store) -> None:
    run = start(store)
    for start_, end in ((START, START), (END, END)):
        store.add_sentinels(run, "start", start_)
        store.add_sentinels(run, "end", end)
    assert store.sentinels(run) == {"start": START, "end": END}


def test_a_deleted_run_leaves_nothing_and_its_number_stays_unused(store: Store) -> None:
    keep, run = start(store), start(store)
    (kept_id,), (id_,) = fill(store, keep), fill(store, run)
    store.add_sentinels(run, "start", START)
    store.delete(run)
    assert store.sentinels(run) == {}
    assert [each.number for each in store.runs()] == [keep]
    assert places(store.measurements([keep, run])) == [(keep, 0)]
    assert len(store.samples(kept_id)) == 3
    assert len(store.samples(id_)) == 0
    assert start(store) == run + 1


def test_an_unknown_run_is_told_with_those_that_exist(store: Store) -> None:
    with pytest.raises(UsageError) as none:
        store.run(7)
    assert str(none.value) == "there is no run 7; the last runs are: none yet"
    for _ in range(6):
        start(store)
    for refused in (
        store.run,
        store.plan,
        store.delete,
        lambda n: store.relabel(n, "pr"),
        lambda n: store.add_sentinels(n, "end", END),
    ):
        with pytest.raises(UsageError) as error:
            refused(7)
        assert str(error.value) == "there is no run 7; the last runs are: 2, 3, 4, 5, 6"


def test_only_the_newest_run_of_a_case_counts_unless_pooled(store: Store) -> None:
    old, new = start(store), start(store)
    fill(store, old, [OK, OK])
    store.add(old, small_case(backend="sdpa"), ON_GPU, 0, 2, OK)
    fill(store, new, [REFUSED])
    assert places(store.measurements([old, new])) == [(old, 0), (new, 0)]
    pooled = [(old, 0), (old, 1), (old, 0), (new, 0)]
    assert places(store.measurements([old, new], pool=True)) == pooled
    assert places(store.measurements([old])) == [(old, 0), (old, 1), (old, 0)]
    assert store.measurements([]) == []


def test_the_newest_run_is_told_by_time_and_not_by_number(store: Store) -> None:
    first, second = start(store), start(store)
    fill(store, first)
    fill(store, second)
    backdate(store, second, to_before=first)
    assert places(store.measurements([first, second])) == [(first, 0)]


def test_other_methods_and_machine_models_are_series_of_their_own(store: Store) -> None:
    runs = [start(store), start(store, machine=H100), start(store)]
    for run in runs[:2]:
        fill(store, run)
    store.add(runs[2], CASE, replace(ON_GPU, cache="hot"), 0, 0, OK)
    assert places(store.measurements(runs)) == [(run, 0) for run in runs]


def test_another_card_of_a_model_continues_its_series(store: Store) -> None:
    runs = [start(store), start(store, machine=replace(H200, gpu_uuid="GPU-3"))]
    for run in runs:
        fill(store, run)
    assert places(store.measurements(runs)) == [(runs[1], 0)]


def test_the_seconds_of_a_round_are_those_of_the_newest_run(store: Store) -> None:
    slow = replace(OK, durations={"check": 1.0, "time": 3.0})
    fill(store, start(store), [OK, OK])
    fill(store, start(store), [slow, OK, REFUSED])
    fill(store, start(store, machine=H100), [OK])
    other = small_case(backend="sdpa").key
    assert store.seconds_a_round([CASE.key, other], H200.model_key) == {CASE.key: 3.0}
