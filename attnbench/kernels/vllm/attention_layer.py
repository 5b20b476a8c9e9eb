"""vLLM's layer of standard attention, its cache's description and its metadata builder."""

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from attnbench.kernels.inputs import torch_dtype
from attnbench.kernels.paged import KEY_SCALE, QUERY_SCALE, VALUE_SCALE
from attnbench.kernels.vllm.registry import refusals_of
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig

_layer_numbers = count()


def attention_layer(
    cls: Any,
    config: "VllmConfig",
    case: Case,
    window: int | None,
    sinks: "torch.Tensor | None",
    device: str,
) -> Any:
    """A layer with that window, and with the scales that a quantised model brings."""
    import torch
    from vllm.model_executor.layers.attention import Attention

    shape = case.shape
    assert isinstance(shape, AttnShape)
    extra = {} if sinks is None else {"sinks": sinks}
    with torch.device(device), refusals_of(cls):
        layer = Attention(
            shape.num_q_heads,
            shape.head_dim,
            shape.head_dim**-0.5,
            num_kv_heads=shape.num_kv_heads,
            cache_config=config.cache_config,
            logits_soft_cap=case.softcap,
            per_layer_sliding_window=window,
            prefix=f"attnbench.layers.{next(_layer_numbers)}.attn",
            attn_backend=cls,
            **extra,
        )
    layer.process_weights_after_loading(torch_dtype(case.dtype))
    if case.kv_cache_dtype != "auto":
        for name, value in zip("qkv", (QUERY_SCALE, KEY_SCALE, VALUE_SCALE), strict=True):
            _set_scale(layer, name, value)
    return layer


def cache_spec(layer: Any, config: "VllmConfig", page: int) -> Any:
    """vLLM's description of the layer's cache, with pages of `page` tokens.

    That of a windowed layer has the smallest page size, not the one in use.
    """
    return replace(layer.get_kv_cache_spec(config), block_size=page)


def metadata_builder(cls: Any, layer: Any, spec: Any, config: "VllmConfig", device: str) -> Any:
    """The backend's metadata builder for that one layer."""
    import torch

    make = cls.get_builder_cls()
    with refusals_of(cls):
        return make(spec, [layer.layer_name], config, torch.device(device))


def _set_scale(layer: Any, name: str, value: float) -> None:
    """Set the scale of q, k or v everywhere an impl may read it."""
    getattr(layer, f"_{name}_scale").fill_(value)
    setattr(layer, f"_{name}_scale_float", value)
    if hasattr(layer, f"_{name}_scale_cpu"):
        getattr(layer, f"_{name}_scale_cpu").fill_(value)
