"""FlashInfer's backends of attn, with modules that are quick to have: bf16 at head dim 128."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.check import check, check_again
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from attnbench.timing.cuda import GraphClock
from tests.conftest import small_case

pytestmark = pytest.mark.gpu

DEVICE, SETS = "cuda:0", 3
SPECS = ["q300", "5q1kv1000", "q1", "3q5kv210_7q1kv160_2q160_3q1kv170", "q16kv48_q4kv4"]
ON_HOPPER = ["flashinfer-fa2", "flashinfer-fa3", "flashinfer-cudnn"]


def attn_case(backend: str, spec: str, heads: tuple[int, int] = (8, 2), **fields: object) -> Case:
    return replace(
        small_case("attn", backend, spec, "bf16", **fields), shape=AttnShape(*heads, 128)
    )


def prepared(case: Case) -> Prepared:
    """Skips what this machine refuses: it may have another GPU, or no cuDNN frontend."""
    backend = find("attn", case.backend)
    if refusal := backend.refusal(case, read_machine(DEVICE)):
        pytest.skip(refusal)
    return backend.prepare(case, Setting(DEVICE, SETS, seed=0))


def checked(ready: Prepared) -> None:
    with torch.inference_mode():
        check(ready, seed=1)
        for index, call in enumerate(ready.calls):
            ready.poison(index)
            call()
        check_again(ready, launched=SETS, seed=2)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("backend", ON_HOPPER)
@pytest.mark.parametrize(("layout", "block_size"), [("NHD", 16), ("HND", 64)])
def test_every_set_is_right(backend: str, spec: str, layout: str, block_size: int) -> None:
    checked(prepared(attn_case(backend, spec, layout=layout, block_size=block_size)))


@pytest.mark.parametrize("heads", [(8, 8), (32, 8), (8, 1)])
@pytest.mark.parametrize("backend", ON_HOPPER)
def test_every_grouping_of_heads_is_right(backend: str, heads: tuple[int, int]) -> None:
    checked(prepared(attn_case(backend, "4q1kv300_2q100kv250", heads)))


@pytest.mark.parametrize("backend", ON_HOPPER)
def test_a_graph_replays_every_set(backend: str) -> None:
    ready = prepared(attn_case(backend, "3q1kv500_2q160"))
    with torch.inference_mode():
        for call in ready.calls:
            call()
        torch.cuda.synchronize()
        clock = GraphClock(ready.calls, DEVICE)
        for index in range(SETS):
            ready.poison(index)
        assert 1e-6 < clock.sample() < 1e-2
        check_again(ready, launched=SETS, seed=2)


@pytest.mark.parametrize("backend", ["flashinfer-fa2", "flashinfer-fa3"])
def test_planning_again_changes_nothing(backend: str) -> None:
    ready = prepared(attn_case(backend, "3q1kv500_2q160"))
    assert ready.plan is not None
    ready.plan()
    checked(ready)


@pytest.mark.parametrize(
    ("backend", "spec", "paths"),
    [
        ("flashinfer-fa2", "3q1kv50", {"decode"}),
        ("flashinfer-fa3", "q50", {"prefill"}),
        ("flashinfer-fa2", "3q1kv50_q50", {"decode", "prefill"}),
        ("flashinfer-cudnn", "3q1kv50_q50", {"prefill"}),
    ],
)
def test_the_row_says_which_wrapper_served(backend: str, spec: str, paths: set[str]) -> None:
    resolved = prepared(attn_case(backend, spec)).resolved
    assert {"decode", "prefill"} & resolved.keys() == paths


def test_trtllm_is_refused_before_it_could_download() -> None:
    machine = read_machine(DEVICE)
    if machine.capability is None or machine.capability[0] == 10:
        pytest.skip("this GPU has these kernels")
    refusal = find("attn", "flashinfer-trtllm").refusal(
        attn_case("flashinfer-trtllm", "q50"), machine
    )
    assert str(refusal).startswith("needs SM100; this is SM")


@pytest.mark.parametrize(
    "asked", [{"window": 70}, {"softcap": 20.0}, {"kv_cache_dtype": "fp8_e4m3"}], ids=str
)
def test_fa2_variants_that_compile_first_are_right(asked: dict[str, Any]) -> None:
    """Minutes each: run them by name."""
    checked(prepared(attn_case("flashinfer-fa2", "3q1kv500_2q160", **asked)))
