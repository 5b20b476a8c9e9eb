"""MLA held against the installed vLLM: layers, builders and splits, but no kernel."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.registry import find
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape
from tests.contracts.no_kernels import NoKernels

HOPPER = Machine("cuda", "cuda:0", "NVIDIA H200", capability=(9, 0))
MIXED = "3q1kv100_2q16kv90_q200"


def mla(backend: str, spec: str, fields: dict[str, object]) -> Case:
    batch, shape = parse_batch_spec(spec), MlaShape(16)
    return Case("mla", backend, batch, shape, "bf16", **fields)  # type: ignore[arg-type]


@pytest.fixture
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is launched, and no memory pinned: there is no driver."""
    monkeypatch.setattr(VllmMlaPrepared, "_first_pass", lambda _: None)
    for name in ("empty", "zeros"):
        plain = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, f=plain, pin_memory=False, **k: f(*a, **k))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: tensor)


@pytest.mark.parametrize(
    ("backend", "fields"),
    [
        ("flashmla", {}),
        ("flashmla", {"kv_cache_dtype": "fp8"}),
        ("flashattn_mla", {"knobs": (("num_splits", 4),)}),
        ("triton_mla", {"kv_cache_dtype": "fp8", "knobs": (("num_splits", 4),)}),
        ("flashmla_sparse", {"index_topk": 128}),
        ("flashmla_sparse", {"index_topk": 128, "kv_cache_dtype": "fp8_ds_mla"}),
        ("flashattn_mla_sparse", {"index_topk": 128}),
    ],
)
def test_what_hopper_can_run_is_not_refused(backend: str, fields: dict[str, object]) -> None:
    assert find("mla", backend).refusal(mla(backend, MIXED, fields), HOPPER) is None


@pytest.mark.usefixtures("unlaunched")
@pytest.mark.parametrize("scope", ["kernel", "layer"])
@pytest.mark.parametrize(
    ("backend", "spec", "fields", "decodes"),
    [
        ("flashmla", MIXED, {}, 3),
        ("flashmla", MIXED, {"knobs": (("threshold", 16),)}, 3),
        ("flashmla", "4q16kv90", {}, 4),
        ("flashmla", "4q16kv90", {"knobs": (("threshold", 4),)}, 0),
        ("flashattn_mla", "2q16kv90_q200", {"knobs": (("threshold", 1),)}, 0),
        ("flashmla_sparse", MIXED, {"index_topk": 128}, 6),
        ("flashattn_mla_sparse", MIXED, {"index_topk": 128}, 6),
    ],
)
def test_vllms_builder_splits_a_batch_as_foreseen(
    backend: str, spec: str, fields: dict[str, object], decodes: int, scope: str
) -> None:
    case = mla(backend, spec, fields | {"scope": scope})
    assert find("mla", backend).num_decode(case) == decodes
    with torch.inference_mode():
        ready = find("mla", backend).prepare(case, Setting("cpu", 2, seed=0))
    assert isinstance(ready, VllmMlaPrepared)
    if decodes < len(case.batch):
        assert ready.resolved["prefill_backend"] == "FLASH_ATTN fa3"
    assert len(ready.layers) == (2 if scope == "layer" else 1)


@pytest.mark.usefixtures("unlaunched")
def test_a_split_that_is_not_as_foreseen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = find("mla", "flashmla")
    monkeypatch.setattr(type(backend), "num_decode", lambda *_: 6)
    with pytest.raises(Refused, match="expected 6 of 6 requests on the decode path, but this"):
        backend.prepare(mla("flashmla", MIXED, {}), Setting("cpu", 1, seed=0))


class Joining(TorchDispatchMode):  # type: ignore[misc]
    """Notes whether tensors are joined."""

    found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found |= func.name().partition("::")[2] in ("cat", "concat_mla_q")
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("unlaunched")
@pytest.mark.parametrize(
    ("backend", "fields"),
    [
        ("triton_mla", {}),
        ("triton_mla", {"kv_cache_dtype": "fp8"}),
        ("flashmla", {}),
        ("flashattn_mla", {}),
        ("flashmla_sparse", {"index_topk": 128}),
        ("flashattn_mla_sparse", {"index_topk": 128}),
    ],
)
def test_a_row_says_that_queries_are_joined_outside_where_vllms_own_call_joins_them(
    backend: str, fields: dict[str, object], left_out: NoKernels
) -> None:
    with torch.inference_mode():
        ready = find("mla", backend).prepare(mla(backend, "4q1kv90", fields), Setting("cpu", 1, 0))
        assert isinstance(ready, VllmMlaPrepared)
        parts = ready.decode_queries[0].split([512, 64], dim=-1)
        arguments = (parts, ready.cache, ready.metadata[0], ready.layers[0])
        with Joining() as joining:
            left_out.launch([lambda: ready.impl.forward_mqa(*arguments)])
    assert ready.resolved.get("outside") == ("query_join" if joining.found else None)


@pytest.mark.usefixtures("unlaunched")
@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ("4q1kv90", {"scope": "layer"}),  # they are joined inside
        ("4q1kv90", {"kv_cache_dtype": "fp8"}),  # vLLM quantises both parts into one
        ("2q200", {}),  # prompts are in one part
    ],
)
def test_a_row_of_which_no_queries_are_joined_outside_does_not_say_so(
    spec: str, fields: dict[str, object]
) -> None:
    with torch.inference_mode():
        ready = find("mla", "flashmla").prepare(mla("flashmla", spec, fields), Setting("cpu", 1, 0))
    assert "outside" not in ready.resolved
