"""Memory foreseen, against what vLLM's layers, builders and metadata hold with ours."""

from typing import Any

import pytest
import torch

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
from attnbench.provenance.machine import Machine
from attnbench.running.memory import memory_of
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape
from tests.held import held_bytes

HOPPER = Machine("cuda", "cuda:0", "NVIDIA H200", capability=(9, 0), sm_count=132)


def case(backend: str, spec: str, knobs: dict[str, Any], **fields: Any) -> Case:
    shape: Shape = MlaShape(16) if "mla" in backend else AttnShape(8, 2, 128)
    family, batch = "mla" if "mla" in backend else "attn", parse_batch_spec(spec)
    return Case(family, backend, batch, shape, "bf16", knobs=tuple(knobs.items()), **fields)


@pytest.fixture
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is launched, and no memory pinned: there is no driver."""
    monkeypatch.setattr(VllmMlaPrepared, "_first_pass", lambda _: None)
    for name in ("empty", "zeros"):
        plain = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, f=plain, pin_memory=False, **k: f(*a, **k))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: tensor)


SERVED = {"max_model_len": 8192}


@pytest.mark.usefixtures("unlaunched")
@pytest.mark.parametrize("sets", [1, 4])
@pytest.mark.parametrize(
    "asked",
    [
        case("triton", "64q1kv2k", SERVED),
        case("triton", "3q1kv2k_q300", SERVED, scope="layer", kv_cache_dtype="fp8"),
        case("triton", "64q1kv2k", {}, window=16),
        case("flashmla", "64q1kv2k", SERVED),
        case("flashmla", "64q1kv2k", {}, scope="layer"),
    ],
    ids=lambda case: f"{case.backend}-{case.key[:6]}",
)
def test_what_is_foreseen_is_what_vllms_layers_hold(asked: Case, sets: int) -> None:
    with torch.inference_mode():
        ready = find(asked.family, asked.backend).prepare(asked, Setting("cpu", sets, seed=0))
    foreseen = sum(memory_of(asked, sets, HOPPER).values())
    assert held_bytes(ready) == pytest.approx(foreseen, rel=0.02, abs=8 * 2**20)
