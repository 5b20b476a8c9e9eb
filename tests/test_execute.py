"""One job, prepared, checked and timed in this process: its working sets, and how it may fail."""

import pytest

from attnbench.provenance.machine import Machine
from attnbench.records import Outcome
from attnbench.running.execute import execute
from attnbench.running.messages import Job
from attnbench.running.odd_lengths import odd_lengths
from attnbench.specs.case import Case
from attnbench.timing.guard import unseen
from attnbench.timing.method import Method
from tests.conftest import small_case

MIB = 2**20
CPU = Machine(kind="cpu", device="cpu", name="Xeon", cpu_count=2, l2_bytes=MIB)


def executed(method: Method, num_layers: int | None, backend: str = "naive") -> Outcome:
    job = Job(small_case(backend=backend), method, 0, num_layers, profile_memory=False, host=False)
    return execute(job, CPU, unseen, lambda phase: None)


@pytest.mark.parametrize("asked", [1, 3])
def test_a_case_gets_as_many_working_sets_as_were_asked_for(asked: int) -> None:
    assert executed(Method("cpu", samples=3), asked).sets == asked


def test_a_hot_case_gets_one_working_set() -> None:
    outcome = executed(Method("cpu", cache="hot", samples=3), None)
    assert (outcome.sets, outcome.cache_state) == (1, "hot")


def test_a_cold_case_gets_just_as_many_as_outgrow_the_cache_three_times() -> None:
    outcome = executed(Method("cpu", samples=3), None)
    assert outcome.cache_state == "cold"
    assert outcome.bytes
    assert (outcome.sets - 1) * outcome.bytes < 3 * MIB <= outcome.sets * outcome.bytes


@pytest.mark.parametrize(
    ("backend", "status", "reason"),
    [
        ("exhausting", "out-of-memory", "allocate"),
        ("raising", "error", "ValueError: no such page size"),
        ("wrong", "incorrect", "where the reference has"),
        ("unfinished", "incorrect", "4 of 76 rows hold NaN"),
        ("forgetful", "incorrect", "after timing, in working set 1"),
        ("stale", "incorrect", "launched again with its values negated"),
        ("emptying", "incorrect", "its call overwrites its inputs"),
    ],
)
@pytest.mark.usefixtures("own_kernels")
def test_a_backend_that_fails_is_an_outcome_with_its_reason(
    backend: str, status: str, reason: str
) -> None:
    outcome = executed(Method("cpu", samples=3), 2, backend)
    assert outcome.status == status
    assert reason in outcome.reason


@pytest.mark.parametrize(
    "case",
    [
        small_case("cache-write", "emptying", "q7"),
        small_case("mla", "emptying", "2q1kv29", scope="kernel"),
        small_case("mla", "emptying", "2q1kv29", scope="layer"),
    ],
    ids=["cache-write", "mla", "mla layer"],
)
@pytest.mark.usefixtures("own_kernels")
def test_a_kernel_that_zeroes_its_inputs_once_it_is_timed_is_incorrect(case: Case) -> None:
    job = Job(case, Method("cpu", samples=3), 0, 2, False, False)
    outcome = execute(job, CPU, unseen, lambda phase: None)
    assert (outcome.status, outcome.reason) == ("incorrect", "its call overwrites its inputs")


@pytest.mark.parametrize("spec", ["2q1kv29", "q20kv29_q4"])
@pytest.mark.usefixtures("own_kernels")
def test_a_layer_that_writes_its_new_tokens_keeps_its_inputs(spec: str) -> None:
    case = small_case("mla", "paced", spec, scope="layer")
    job = Job(case, Method("cpu", samples=3), 0, 2, False, False)
    assert execute(job, CPU, unseen, lambda phase: None).status == "ok"


@pytest.mark.parametrize(("backend", "labelled"), [("fixed", True), ("naive", False)])
@pytest.mark.usefixtures("own_kernels")
def test_a_row_says_that_its_backend_cannot_take_new_inputs(backend: str, labelled: bool) -> None:
    outcome = executed(Method("cpu", samples=3), 2, backend)
    assert outcome.status == "ok"
    assert ("same_inputs" in outcome.labels) == labelled


@pytest.mark.parametrize(
    ("backend", "reason"),
    [("overreading", "8 of 8 rows hold NaN"), ("flooring", "got"), ("levelling", "got")],
)
@pytest.mark.usefixtures("own_kernels")
def test_the_first_round_also_checks_lengths_that_end_within_a_page(
    backend: str, reason: str
) -> None:
    case, method = small_case(backend=backend, spec="2q1kv32"), Method("cpu", samples=3)
    first, second = (
        execute(Job(case, method, 0, 2, False, False, first=first), CPU, unseen, lambda phase: None)
        for first in (True, False)
    )
    assert first.status == "incorrect"
    assert f"with lengths that end within a page (q1kv17_q1kv29): {reason}" in first.reason
    assert second.status == "ok"


def sparse(spec: str) -> Case:
    return small_case("mla", "torch-absorbed", spec, index_topk=2048)


@pytest.mark.parametrize(
    ("case", "odd"),
    [
        (small_case(spec="q1kv64_q32"), "q1kv49_q17"),
        (small_case(spec="4q2kv16"), "4q2kv13"),  # two new tokens are more than one
        (small_case(spec="q1kv1k"), "q1kv897"),
        (small_case(spec="3q256"), "2q129_q253"),
        (small_case(spec="2q16"), "2q13"),  # neither becomes a decode
        (small_case(spec="5q1kv1k_2q4kv256"), "3q1kv897_2q1kv1021_q4kv129_q4kv253"),
        (small_case(spec="q1kv64_q33"), None),
        (small_case(spec="q1kv48", block_size=64), None),
        (small_case(spec="q1kv40", block_size=8), "q1kv33"),
        (small_case("cache-write", "torch", "q32"), None),
        (sparse("4q1kv8k"), "2q1kv1921_2q1kv8189"),
        (sparse("q1kv1k"), "q1kv897"),
    ],
)
def test_lengths_are_made_odd_where_all_end_at_page_borders(case: Case, odd: str | None) -> None:
    found = odd_lengths(case)
    assert (found and str(found.batch)) == odd
