"""Standard attention held against the installed vLLM, as far as no kernel is launched."""

import pytest
import torch

from attnbench.kernels.base import Setting
from attnbench.kernels.registry import find
from attnbench.kernels.vllm.attention_prepared import VllmPrepared
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

HOPPER = Machine("cuda", "cuda:0", "NVIDIA H200", capability=(9, 0))
FA2 = (("flash_version", 2),)


def attn(backend: str, **fields: object) -> Case:
    batch, shape = parse_batch_spec("3q1kv40_2q16kv48_q33"), AttnShape(8, 2, 128)
    dtype = fields.pop("dtype", "bf16")
    return Case("attn", find("attn", backend).name, batch, shape, dtype, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("backend", "fields"),
    [
        *((name, {}) for name in ("flash", "triton", "flashinfer", "flex")),
        ("FLASH_ATTN", {"kv_cache_dtype": "fp8", "window": 64, "sinks": True}),
        ("triton", {"kv_cache_dtype": "fp8", "window": 64, "sinks": True, "softcap": 30.0}),
        ("flashinfer", {"kv_cache_dtype": "fp8_e5m2"}),
        ("flash", {"knobs": (("flash_version", 3),)}),
        ("flash", {"knobs": (("num_splits", 4),)}),
        ("flex", {"window": 64}),
    ],
)
def test_what_hopper_can_run_is_not_refused(backend: str, fields: dict[str, object]) -> None:
    assert find("attn", backend).refusal(attn(backend, **fields), HOPPER) is None


@pytest.mark.parametrize(
    ("backend", "fields", "sentence"),
    [
        ("flash", {"dtype": "fp32"}, "vLLM's FLASH_ATTN says: dtype not supported"),
        (
            "flash",
            {"block_size": 24},
            "does not take --block-size 24 (it takes multiples of 16)",
        ),
        (
            "flash",
            {"knobs": FA2, "kv_cache_dtype": "fp8"},
            "vLLM's FLASH_ATTN says: kv_cache_dtype not supported",
        ),
        (
            "flash",
            {"knobs": FA2, "sinks": True},
            "vLLM's FLASH_ATTN says: attention sinks not supported",
        ),
        ("flashinfer", {"block_size": 128}, "does not take --block-size 128 (it takes 16, 32, 64)"),
        ("TURBOQUANT", {}, "vLLM's TURBOQUANT says: kv_cache_dtype not supported"),
    ],
)
def test_what_it_cannot_run_is_refused_in_the_backends_words(
    backend: str, fields: dict[str, object], sentence: str
) -> None:
    refusal = find("attn", backend).refusal(attn(backend, **fields), HOPPER)
    assert refusal is not None
    assert refusal.startswith(sentence)  # newer releases give more reasons


@pytest.mark.parametrize(
    ("backend", "fields"),
    [
        ("flash", {"knobs": FA2}),
        ("flash", {"knobs": FA2, "window": 20, "layout": "HND"}),
        ("triton", {}),
        ("triton", {"kv_cache_dtype": "fp8", "window": 20, "sinks": True, "scope": "layer"}),
        ("triton", {"block_size": 64, "layout": "HND", "softcap": 3.0}),
        ("TRITON_ATTN_DIFFKV", {}),
    ],
)
@pytest.mark.parametrize("graphs", [True, False])
def test_layer_builder_and_cache_are_made(
    backend: str, fields: dict[str, object], graphs: bool
) -> None:
    case = attn(backend, **fields)
    with torch.inference_mode():
        ready = find("attn", backend).prepare(case, Setting("cpu", 2, seed=0, graphs=graphs))
        assert isinstance(ready, VllmPrepared)
        assert len(ready.calls) == 2
        assert ready.resolved["layout"] == (case.layout or "NHD")
        assert ready.damage(0) is None
        rows = torch.arange(len(ready.output(0)))
        expected = ready.expected(torch.zeros_like(rows), rows)
    assert not expected.isnan().any()
    assert expected.std() > 0.1


def test_sdpa_may_take_cudnn_whoever_imported_vllm() -> None:
    torch.backends.cuda.enable_cudnn_sdp(False)  # as the import of vllm.platforms.cuda does
    find("attn", "sdpa").prepare(attn("sdpa", dtype="fp32"), Setting("cpu", 1, seed=0))
    assert torch.backends.cuda.cudnn_sdp_enabled()
