"""A case at the power limit needs as many SM cycles after a rest as after others' work."""

import time
from statistics import median

import pytest

from attnbench.provenance.machine import read_machine
from attnbench.records import Outcome, Status
from attnbench.running.execute import execute
from attnbench.running.messages import Job
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.guard import GpuGuard
from attnbench.timing.method import Method

pytestmark = pytest.mark.gpu

DEVICE = "cuda:0"
PREFILL = Case("attn", "sdpa", parse_batch_spec("2q8k"), AttnShape(), "bf16")
IN_BURSTS, BY_WORK = Method("cudagraph"), Method("cudagraph", regime="auto")
DECODE = Case("attn", "sdpa", parse_batch_spec("8q1kv1k"), AttnShape(), "bf16")


def executed(case: Case, method: Method = IN_BURSTS) -> Outcome:
    machine = read_machine(DEVICE)
    job = Job(case, method, 0, None, profile_memory=False, host=False)
    outcome = execute(job, machine, GpuGuard(machine.gpu_uuid).look, lambda phase: None)
    assert outcome.status is Status.OK, outcome.reason
    return outcome


def cycles(outcome: Outcome) -> float:
    return median(outcome.samples) * outcome.guard["sm_clock_hz_median"]


# In a burst after a rest the clock is up to a third higher, and memory takes more of its cycles:
# up to 1.3 % more were measured, and 2.0 % once (docs/lab/timing.md).
@pytest.mark.parametrize(
    ("method", "apart"), [(IN_BURSTS, 0.03), (BY_WORK, 0.01)], ids=["bursts", "by work"]
)
def test_a_prefill_needs_as_many_cycles_after_a_rest_as_right_after_another(
    method: Method, apart: float
) -> None:
    executed(PREFILL, method)
    after_work = executed(PREFILL, method)
    time.sleep(2)
    rested = executed(PREFILL, method)
    assert cycles(rested) == pytest.approx(cycles(after_work), rel=apart)
    assert ("sustained" in rested.labels) is (method is BY_WORK)


def test_a_small_decode_is_timed_at_once() -> None:
    outcome = executed(DECODE, BY_WORK)
    assert "sustained" not in outcome.labels
    assert outcome.durations["warmup"] < 1
