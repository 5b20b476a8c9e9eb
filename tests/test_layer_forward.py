"""What a call of vLLM's attention layer does beside attention, at either scope."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from attnbench.kernels.vllm.forward import forward_layer, inside_facts, takes_fp8
from attnbench.specs.case import Value
from tests.conftest import small_case

BF16, FP8 = torch.bfloat16, torch.float8_e4m3fn
WRITES = SimpleNamespace(forward_includes_kv_cache_update=True)
WRITES_NOT = SimpleNamespace(forward_includes_kv_cache_update=False)
IN_LAYER = SimpleNamespace(query_quant="vLLM's QuantFP8")
IN_FORWARD_OR_NOT = SimpleNamespace(query_quant=None)
PLAIN = SimpleNamespace()  # of backends that have no plans by path


def flashinfers(*, prefill: torch.dtype | None = None, decode: torch.dtype | None = None) -> Any:
    """Metadata of a batch that takes the paths with a dtype."""
    return SimpleNamespace(
        prefill=prefill and "plan",
        decode=decode and "plan",
        q_data_type_prefill=prefill or FP8,
        q_data_type_decode=decode or FP8,
    )


@pytest.mark.parametrize(
    ("cls", "layer", "metadata", "fp8", "facts"),
    [
        (WRITES_NOT, IN_FORWARD_OR_NOT, PLAIN, False, {}),
        (WRITES_NOT, IN_LAYER, PLAIN, True, {}),
        (WRITES_NOT, IN_FORWARD_OR_NOT, flashinfers(prefill=BF16, decode=BF16), False, {}),
        (WRITES_NOT, IN_FORWARD_OR_NOT, flashinfers(decode=FP8), True, {}),
        (WRITES_NOT, IN_FORWARD_OR_NOT, flashinfers(prefill=FP8), True, {}),
        (WRITES_NOT, IN_FORWARD_OR_NOT, flashinfers(decode=BF16), False, {}),  # XQA
        (
            WRITES_NOT,
            IN_FORWARD_OR_NOT,
            flashinfers(prefill=FP8, decode=BF16),
            False,
            {"inside": "query_quant"},
        ),
        (WRITES, IN_FORWARD_OR_NOT, PLAIN, False, {"inside": "cache_write"}),
    ],
)
def test_at_scope_kernel_queries_are_quantised_outside_or_the_row_says_what_is_inside(
    cls: Any, layer: Any, metadata: Any, fp8: bool, facts: dict[str, Value]
) -> None:
    case = small_case("attn", "flash", knobs=(("max_model_len", 8192),))
    assert takes_fp8(case, layer, metadata) is fp8
    assert inside_facts(case, cls, layer, metadata) == facts


def test_a_bare_kernel_of_flashinfer_quantises_inside_as_it_always_did() -> None:
    case, metadata = small_case("attn", "flashinfer"), flashinfers(decode=FP8)
    assert not takes_fp8(case, IN_FORWARD_OR_NOT, metadata)
    facts = inside_facts(case, WRITES_NOT, IN_FORWARD_OR_NOT, metadata)
    assert facts == {"inside": "query_quant"}


def test_at_scope_layer_a_row_need_not_say_what_is_inside() -> None:
    case = small_case("attn", "flash", scope="layer")
    assert inside_facts(case, WRITES, IN_FORWARD_OR_NOT, PLAIN) == {}


class Layer:
    """A layer that notes what is called, and quantises queries if it is told to."""

    def __init__(self, *, quantises: bool) -> None:
        self.called: list[str] = []
        self.impl, self._q_scale = self, torch.tensor(0.25)
        self.query_quant = self.quantised if quantises else None

    def quantised(self, query: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, None]:
        assert query.shape == (3, 8)  # a row for each token, as models pass it
        self.called.append("query_quant")
        return (query / scale).to(FP8), None

    def write(self) -> None:
        self.called.append("cache_write")

    def forward(self, layer: object, query: torch.Tensor, *rest: object) -> None:
        self.called.append(f"forward {query.dtype} {tuple(query.shape)} {rest}")


@pytest.mark.parametrize(
    ("quantises", "called"),
    [
        (
            True,
            ["query_quant", "cache_write", "forward torch.float8_e4m3fn (3, 2, 4) ('key',)"],
        ),
        (False, ["cache_write", "forward torch.bfloat16 (3, 2, 4) ('key',)"]),
    ],
)
def test_scope_layer_quantises_and_writes_as_vllms_layer_does(
    quantises: bool, called: list[str]
) -> None:
    layer = Layer(quantises=quantises)
    forward_layer(layer, torch.ones(3, 2, 4, dtype=BF16), [layer.write], ["key"])
    assert layer.called == called
