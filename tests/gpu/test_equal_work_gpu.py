"""What a call does beside attention, by the names of its kernels, and that it stays right."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.check import check, check_again
from attnbench.kernels.registry import find
from attnbench.provenance.machine import read_machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from attnbench.timing.cuda import GraphClock

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM"),
    pytest.mark.filterwarnings("default"),  # vLLM and what it imports have many
]

DEVICE, SETS = "cuda:0", 3
SERVED = {"max_model_len": 8192}
NATIVE = SERVED | {"decode_kernel": "native"}
QUANT = ("quant", "to_copy", "reciprocal")  # of vLLM's kernel, and of what Inductor makes of it


def case(backend: str, spec: str, knobs: dict[str, Any], **fields: Any) -> Case:
    mla = "mla" in backend or "ragged" in backend
    shape: Shape = MlaShape(16) if mla else AttnShape(8, 2, 128)
    family, batch = "mla" if mla else "attn", parse_batch_spec(spec)
    return Case(family, backend, batch, shape, "bf16", knobs=tuple(knobs.items()), **fields)


def kernels_of(asked: Case) -> tuple[Prepared, set[str]]:
    """Right eagerly and from a graph; with the names of the graph's kernels."""
    backend = find(asked.family, asked.backend)
    if reason := backend.refusal(asked, read_machine(DEVICE)):
        pytest.skip(reason)
    with torch.inference_mode():
        ready = backend.prepare(asked, Setting(DEVICE, SETS, seed=0))
        check(ready, seed=1)
        clock = GraphClock(ready.calls, DEVICE)
        for index in range(SETS):
            ready.poison(index)
        assert clock.sample() > 0
        torch.cuda.synchronize()
        check_again(ready, SETS, seed=2)
    return ready, set(clock.kernels)


def quantising(names: set[str]) -> set[str]:
    return {name for name in names if any(word in name.lower() for word in QUANT)}


@pytest.mark.parametrize("spec", ["8q1kv300", "q300"])
@pytest.mark.parametrize(
    ("backend", "knobs"), [("flash", SERVED), ("triton", SERVED), ("flashinfer", NATIVE)]
)
def test_fp8_queries_are_quantised_in_the_layer_and_outside_the_kernel(
    backend: str, knobs: dict[str, Any], spec: str
) -> None:
    alone, kernel = kernels_of(case(backend, spec, knobs, kv_cache_dtype="fp8"))
    _, layer = kernels_of(case(backend, spec, knobs, kv_cache_dtype="fp8", scope="layer"))
    assert not quantising(kernel)
    assert quantising(layer - kernel)
    assert "inside" not in alone.resolved


def test_a_bare_flashinfer_says_that_it_quantises_inside() -> None:
    ready, kernel = kernels_of(case("flashinfer", "8q1kv300", {}, kv_cache_dtype="fp8"))
    assert quantising(kernel)
    assert ready.resolved["inside"] == "query_quant"


@pytest.mark.parametrize("kv", ["auto", "fp8"])
@pytest.mark.parametrize("spec", ["5q1kv300", "2q1kv130_q200", "q300"])
@pytest.mark.parametrize("backend", ["flashmla", "flashattn_mla", "triton_mla"])
def test_the_layer_of_mla_writes_the_latents(backend: str, spec: str, kv: str) -> None:
    _, layer = kernels_of(case(backend, spec, SERVED, scope="layer", kv_cache_dtype=kv))
    _, kernel = kernels_of(case(backend, spec, SERVED, kv_cache_dtype=kv))
    assert any("concat_and_cache_mla" in name for name in layer)
    assert not any("concat_and_cache_mla" in name for name in kernel)


@pytest.mark.parametrize("kv", ["auto", "fp8_ds_mla"])
def test_the_layer_of_sparse_mla_writes_the_latents(kv: str) -> None:
    asked = case(
        "flashmla_sparse", "5q1kv300", SERVED, scope="layer", kv_cache_dtype=kv, index_topk=128
    )
    _, names = kernels_of(asked)
    assert any("concat_and_cache" in name for name in names)


@pytest.mark.parametrize("spec", ["5q1kv300", "q300"])
@pytest.mark.parametrize(
    "backend",
    [f"flashinfer-{kind}-{fa}" for kind in ("mla", "ragged") for fa in ("fa2", "fa3")],
)
def test_flashinfers_mla_appends_the_latents(backend: str, spec: str) -> None:
    _, names = kernels_of(case(backend, spec, {}, scope="layer"))
    assert any("AppendPagedKVMlaCache" in name for name in names)
