"""One job, prepared, checked and timed in this process: how many working sets it gets."""

import pytest

from attnbench.provenance.machine import Machine
from attnbench.records import Outcome, Status
from attnbench.running.execute import execute
from attnbench.running.messages import Job
from attnbench.timing.guard import unseen
from attnbench.timing.method import Method
from tests.conftest import small_case

MIB = 2**20
CPU = Machine(kind="cpu", device="cpu", name="Xeon", cpu_count=2, l2_bytes=MIB)


def executed(method: Method, num_layers: int | None) -> Outcome:
    job = Job(small_case(), method, 0, num_layers, profile_memory=False, host=False)
    outcome = execute(job, CPU, unseen, lambda phase: None)
    assert outcome.status is Status.OK, outcome.reason
    return outcome


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
