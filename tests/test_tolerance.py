"""The tolerances against a kernel that rounds as honest ones do, and one that rounds too much."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from attnbench.kernels import nvfp4
from attnbench.kernels.deviation import compare
from attnbench.kernels.inputs import torch_dtype
from attnbench.kernels.tolerance import Tolerance, attention, rounding_error, too_small
from attnbench.kernels.vllm.forward import computes_in_fp8

ROWS, DIM = 400, 128


def rounded(values: torch.Tensor, name: str) -> torch.Tensor:
    if name == "nvfp4":
        return nvfp4.dequantise(*nvfp4.quantise(values))
    return values.to(torch_dtype(name)).float()


def dtype_of(output: str) -> str:
    return "fp16" if output == "fp16" else "bf16"


def of_allowed(num_keys: int, weights: str, output: str, allowed: Tolerance) -> float:
    """The largest error over its tolerance, by row or by element, of a kernel with two splits.

    Its sums are in fp32, and fp8 weights are scaled to fill the format, as by FlashAttention 3.
    """
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn((ROWS, num_keys), generator=generator)
    values = torch.randn((ROWS, num_keys, DIM), generator=generator).bfloat16().float()
    exact = (scores - scores.amax(1, keepdim=True)).exp()
    total = exact.sum(1, keepdim=True)
    expected = (exact[:, None] @ values).squeeze(1) / total
    used = rounded(exact * 256, weights) / 256
    halves = zip(used[:, None].chunk(2, 2), values.chunk(2, 1), strict=True)
    partial = [rounded((w @ v).squeeze(1) / total, dtype_of(output)) for w, v in halves]
    result = rounded(partial[0] + partial[1], output)
    error = result - expected
    by_row = error.norm(dim=1) / expected.norm(dim=1)
    shares = (
        (error.abs() / allowed.slack(expected)).max(),
        by_row.max() / allowed.relative_l2,
    )
    return max(map(float, shares))


@pytest.mark.parametrize("num_keys", [16, 128, 1024])
@pytest.mark.parametrize(
    ("weights", "output"),
    [
        ("bf16", "bf16"),
        ("fp16", "fp16"),
        ("fp8", "bf16"),
        ("fp8", "fp8"),
        ("bf16", "fp8"),
        ("bf16", "nvfp4"),
        ("fp8", "nvfp4"),
    ],
)
def test_an_honest_kernel_takes_a_third_to_a_half_of_its_tolerance(
    num_keys: int, weights: str, output: str
) -> None:
    allowed = attention(dtype_of(output), weights=weights, output=output)
    assert 0.33 < of_allowed(num_keys, weights, output, allowed) < 0.55


@pytest.mark.parametrize("largest", [4.0, 5.0, 6.0])
def test_small_weights_in_unscaled_e4m3_err_as_foreseen(largest: float) -> None:
    """The largest weight is that of a key without a value, so all others make up the row."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn((ROWS, 1024), generator=generator).clamp(max=largest)
    values = torch.randn((1024, DIM), generator=generator)
    weights = (scores - largest).exp()
    expected = weights @ values
    error = (rounded(weights, "fp8") - weights) @ values
    found = float((error.norm(dim=1) / expected.norm(dim=1)).square().mean().sqrt())
    foreseen = math.hypot(too_small(largest, spread=1.0), rounding_error("fp8"))
    assert 0.75 < found / foreseen < 1.05


@pytest.mark.parametrize("num_keys", [16, 1024])
def test_a_kernel_that_rounds_weights_to_fp8_over_a_bf16_cache_is_refused(num_keys: int) -> None:
    assert of_allowed(num_keys, "fp8", "bf16", attention("bf16")) > 2


def test_an_error_too_small_for_any_row_is_found_in_all_of_them() -> None:
    expected = torch.randn((64, DIM), generator=torch.Generator().manual_seed(0))
    beside = expected.roll(1, 1)
    beside -= (
        (beside * expected).sum(1, keepdim=True) / expected.square().sum(1)[:, None] * expected
    )
    beside *= expected.norm(dim=1, keepdim=True) / beside.norm(dim=1, keepdim=True)
    allowed = attention("bf16", weights="fp8")
    assert compare(expected + 0.039 * beside, expected, allowed).fault is None
    assert compare(expected + 0.041 * beside, expected, allowed).fault == (
        "the relative L2 error of 64 rows together is 0.041; 0.04 is allowed"
    )


@pytest.mark.parametrize(("weights", "scale"), [("bf16", 1.0015), ("fp8", 1.01), ("fp8", 0.99)])
def test_a_scale_that_is_off_in_every_row_is_found_though_each_is_near(
    weights: str, scale: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    expected = torch.randn((256, DIM), generator=generator)
    allowed = attention("bf16", weights=weights)
    error = torch.randn(expected.shape, generator=generator) * allowed.relative_l2 / 3
    assert compare(expected + error, expected, allowed).fault is None
    found = compare(scale * expected + error, expected, allowed).fault
    assert found is not None
    assert "in scale, all in one direction" in found


def test_the_scale_of_one_row_is_found_though_its_error_is_allowed() -> None:
    expected = torch.randn((64, DIM), generator=torch.Generator().manual_seed(0))
    allowed, scales = attention("bf16", weights="fp8"), torch.ones(64, 1)
    scales[5] = 1.045
    assert compare(scales * expected, expected, allowed).fault is None
    scales[5] = 1.05
    found = compare(scales * expected, expected, allowed).fault
    assert found == "a row's scale is off by 0.05; 0.047 is allowed"


FP8, BF16 = torch.float8_e4m3fn, torch.bfloat16
XQA = SimpleNamespace(kernel=SimpleNamespace(value="xqa"))


@pytest.mark.parametrize(
    ("query_quant", "cache", "metadata", "in_fp8"),
    [
        (object(), "fp8", SimpleNamespace(), True),  # FLASH_ATTN, TRITON_ATTN
        (None, "fp8", SimpleNamespace(decode=object(), q_data_type_decode=FP8), True),
        (None, "fp8", SimpleNamespace(decode=object(), q_data_type_decode=BF16), False),
        (None, "fp8_e5m2", SimpleNamespace(decode=object(), q_data_type_decode=BF16), False),
        (None, "fp8", SimpleNamespace(decode=XQA, q_data_type_decode=BF16), True),
        (None, "auto", SimpleNamespace(decode=XQA, q_data_type_decode=BF16), False),
    ],
)
def test_weights_are_rounded_to_fp8_where_queries_are_and_by_xqa(
    query_quant: object, cache: str, metadata: Any, in_fp8: bool
) -> None:
    layer = SimpleNamespace(query_quant=query_quant, kv_cache_dtype=cache)
    assert computes_in_fp8(layer, metadata) is in_fp8
