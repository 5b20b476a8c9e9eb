"""Prefills on a GPU: FlashInfer's prebuilt modules, cuDNN, and what compiles first."""

from typing import Any

import pytest
import torch

from attnbench import benchmark_prefill
from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.check import check, check_again
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.running.memory import free_memory, memory_refusal
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.lengths import prompt_batches
from attnbench.specs.quant import QUANTS
from attnbench.specs.shape import AttnShape
from attnbench.timing.cuda import GraphClock

pytestmark = pytest.mark.gpu

DEVICE, SETS = "cuda:0", 3
SPECS = ["q300", "3q1kv40_2q100kv330_q512", str(prompt_batches([8], [700], "random", 0)[0])]
PREBUILT = ["torch", "fa2", "fa3", "cudnn"]


def prefill(backend: str, spec: str, quant: str = "bf16", **fields: Any) -> Case:
    asked: dict[str, Any] = {**QUANTS[quant], **fields}
    return Case("prefill-trtllm", backend, parse_batch_spec(spec), AttnShape(16, 4, 128), **asked)


def prepared(case: Case) -> Prepared:
    """Skips what this machine refuses: it may have another GPU, or no cuDNN frontend."""
    backend = find(case.family, case.backend)
    if refusal := backend.refusal(case, read_machine(DEVICE)):
        pytest.skip(refusal)
    return backend.prepare(case, Setting(DEVICE, SETS, seed=0))


def checked(case: Case) -> None:
    """Right by itself, and right again as replays of a graph leave every set."""
    with torch.inference_mode():
        ready = prepared(case)
        check(ready, seed=1)
        for call in ready.calls:
            call()
        torch.cuda.synchronize()
        clock = GraphClock(ready.calls, DEVICE)
        for index in range(SETS):
            ready.poison(index)
        assert 1e-6 < clock.sample() < 1
        check_again(ready, launched=SETS, seed=2)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("backend", PREBUILT)
@pytest.mark.parametrize(("layout", "block_size"), [("HND", 16), ("NHD", 32)])
def test_every_set_is_right(backend: str, spec: str, layout: str, block_size: int) -> None:
    checked(prefill(backend, spec, layout=layout, block_size=block_size))


@pytest.mark.parametrize("quant", QUANTS)
def test_torch_takes_every_quantisation(quant: str) -> None:
    checked(prefill("torch", SPECS[1], quant))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(("layout", "block_size"), [("HND", 16), ("NHD", 32)])
def test_trtllm_fmha_v2_which_compiles_first_is_right(
    spec: str, layout: str, block_size: int
) -> None:
    """A minute and a half for each layout the first time."""
    checked(prefill("trtllm-fmha-v2", spec, layout=layout, block_size=block_size))


def test_fa3_in_fp8_which_compiles_first_is_right() -> None:
    """Minutes the first time."""
    for spec in SPECS:
        checked(prefill("fa3", spec, "fp8-qkv"))


def test_trtllm_gen_is_refused_before_it_could_download() -> None:
    machine = read_machine(DEVICE)
    if machine.capability is None or machine.capability[0] == 10:
        pytest.skip("this GPU has these kernels")
    refusal = find("prefill-trtllm", "trtllm-gen").refusal(prefill("trtllm-gen", "q50"), machine)
    assert str(refusal).startswith("needs SM100; this is SM")


def test_the_gpus_own_free_memory_is_foreseen() -> None:
    machine = read_machine(DEVICE)
    free = free_memory(machine)
    assert free is not None
    assert 2**30 < free <= (machine.memory_bytes or 0)
    assert memory_refusal(prefill("fa2", "q300"), machine) is None
    assert "are free" in str(memory_refusal(prefill("fa2", "1000q128k"), machine))


def test_the_api_gives_times_of_a_baseline_beside_torch() -> None:
    if find("prefill-trtllm", "fa2").refusal(prefill("fa2", "q50"), read_machine(DEVICE)):
        pytest.skip("FlashInfer is not installed")
    found = benchmark_prefill(
        torch.bfloat16, (None, None, None), 4, 1024, (16, 4), implementation="torch", trials=5
    )
    base, mean = found["baseline_mean"], found["trtllm_mean"]
    assert isinstance(base, float)
    assert isinstance(mean, float)
    assert 1e-3 < base < mean < 100  # milliseconds
