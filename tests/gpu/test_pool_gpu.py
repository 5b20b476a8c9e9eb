"""Pools as large as a server's: backends read the right pages of them, and rows say the size."""

import gc
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.check import check, check_again
from attnbench.kernels.registry import find
from attnbench.provenance.machine import Machine, read_machine
from attnbench.records import Outcome, Status
from attnbench.running.execute import execute
from attnbench.running.memory import memory_of
from attnbench.running.messages import Job
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from attnbench.timing.cuda import GraphClock
from attnbench.timing.guard import GpuGuard
from attnbench.timing.method import Method

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

DEVICE, SIZE = "cuda:0", 20.0  # GiB: byte offsets and elements beyond 32 bits
GIB = 2**30
needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM")
BACKENDS: list[Any] = [
    *(pytest.param(name, marks=needs_vllm) for name in ("flash", "triton", "flashinfer")),
    *(pytest.param(name, marks=needs_vllm) for name in ("flashmla", "flashattn_mla")),
    *("naive", "flashinfer-fa2", "torch-absorbed", "flashinfer-mla-fa3"),
]


@pytest.fixture(scope="module")
def machine() -> Machine:
    found = read_machine(DEVICE)
    if (found.memory_bytes or 0) < 2 * SIZE * GIB:
        pytest.skip("needs a GPU with 40 GiB")
    return found


def pooled(backend: str, spec: str = "9q1kv700", **others: Any) -> Case:
    mla = "mla" in backend or backend.startswith("torch")
    shape: Shape = MlaShape(16) if mla else AttnShape(8, 2, 128)
    family = "mla" if mla else "attn"
    return Case(family, backend, parse_batch_spec(spec), shape, "bf16", pool_gib=SIZE, **others)


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_over_a_pool_of_20_gib_are_right(backend: str, machine: Machine) -> None:
    case = pooled(backend)
    adapter = find(case.family, case.backend)
    if reason := adapter.refusal(case, machine):
        pytest.skip(reason)
    gc.collect()  # a pool of the case before, freed only now, would count as less than taken
    torch.cuda.empty_cache()
    before = torch.cuda.mem_get_info()[0]
    try:
        with torch.inference_mode():
            ready = adapter.prepare(case, Setting(DEVICE, 3, seed=0))
            torch.cuda.empty_cache()
            taken = before - torch.cuda.mem_get_info()[0]
            check(ready, seed=1)
            clock = GraphClock(ready.calls, DEVICE)
            for index in range(3):
                ready.poison(index)
            clock.sample()
            check_again(ready, 3, seed=2)
    except Refused as refused:
        pytest.skip(str(refused))
    assert 0.95 * SIZE * GIB < taken < 1.3 * SIZE * GIB
    assert SIZE * GIB <= sum(memory_of(case, 3, machine).values()) < 1.1 * SIZE * GIB
    del ready, clock
    torch.cuda.empty_cache()


def executed(case: Case) -> Outcome:
    machine = read_machine(DEVICE)
    job = Job(case, Method("cudagraph"), 0, None, profile_memory=False, host=False)
    return execute(job, machine, GpuGuard(machine.gpu_uuid).look, lambda phase: None)


def test_a_pool_larger_than_the_gpu_is_refused() -> None:
    case = Case("attn", "naive", parse_batch_spec("q1"), AttnShape(), "bf16", pool_gib=1000.0)
    outcome = executed(case)
    assert outcome.status is Status.REFUSED
    assert outcome.reason.startswith("needs at least 1")
    assert "GiB of memory (kv 1000 GiB)" in outcome.reason


@pytest.mark.parametrize("tokens", [128, 1024, 4096])  # fewer are not cold: 512 sets are the most
def test_a_write_of_hot_inputs_is_quicker_than_of_cold_ones(tokens: int) -> None:
    batch, shape = parse_batch_spec(f"q{tokens}"), AttnShape(8, 8, 128)
    hot, cold = (
        executed(Case("cache-write", "torch", batch, shape, "bf16", inputs=inputs))
        for inputs in ("hot", "cold")
    )
    assert (hot.status, cold.status) == (Status.OK, Status.OK), (hot.reason, cold.reason)
    assert (hot.resolved["inputs"], hot.cache_state) == ("hot", "cold")
    assert min(hot.samples) < min(cold.samples)
