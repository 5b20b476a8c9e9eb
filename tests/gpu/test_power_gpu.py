"""A case that can reach the power limit takes as long after a rest as after others' work."""

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
DECODE = Case("attn", "sdpa", parse_batch_spec("8q1kv1k"), AttnShape(), "bf16")


def executed(case: Case) -> Outcome:
    machine = read_machine(DEVICE)
    job = Job(case, Method("cudagraph"), 0, None, profile_memory=False, host=False)
    outcome = execute(job, machine, GpuGuard(machine.gpu_uuid).look, lambda phase: None)
    assert outcome.status is Status.OK, outcome.reason
    return outcome


def test_a_prefill_takes_as_long_after_a_rest_as_right_after_another() -> None:
    executed(PREFILL)
    after_work = executed(PREFILL)
    time.sleep(2)
    rested = executed(PREFILL)
    assert "sustained" in after_work.labels
    assert median(rested.samples) == pytest.approx(median(after_work.samples), rel=0.03)


def test_a_small_decode_is_timed_at_once() -> None:
    outcome = executed(DECODE)
    assert "sustained" not in outcome.labels
    assert outcome.durations["warmup"] < 1
