"""vLLM's MLA layers with real weights, and their metadata from its own builder."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attnbench.kernels.vllm.registry import refusals_of
from attnbench.kernels.vllm.startup import activate, start
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig

Q_LORA_RANK = 1536  # an argument of vLLM's layer, which never uses it
# vLLM's usual. TRITON_MLA reserves partial outputs for as many requests: with 128 heads and
# DeepSeek's max_model_len 69 MB for each.
MAX_NUM_SEQS = 256


def limit_requests(config: "VllmConfig", num_requests: int, *, prefills: bool) -> None:
    """Let builders reserve memory for no more requests than needed.

    Prefills gather their context in a workspace whose size follows from the server's requests.
    """
    config.scheduler_config.max_num_seqs = most_requests(num_requests, prefills=prefills)


def most_requests(num_requests: int, *, prefills: bool) -> int:
    """The requests of a server that runs so many, with prefills among them or without."""
    return max(MAX_NUM_SEQS * prefills, num_requests)


def mla_layers(
    backend: type,
    config: "VllmConfig",
    shape: MlaShape,
    weights: "Sequence[torch.Tensor]",
    topk: "torch.Tensor | None",
) -> list[Any]:
    """A layer for each of the weights [heads, nope + v, rank], whose memory it shares.

    `topk` int32 [tokens, topk] takes the place of a sparse backend's indexer output; None if dense.
    `config` becomes the current one of the process.
    """
    import torch

    activate(config)
    start(str(weights[0].device))
    with torch.device(weights[0].device), refusals_of(backend):
        return [
            _layer(backend, config, shape, each, topk, f"attnbench.{index}")
            for index, each in enumerate(weights)
        ]


def _layer(
    backend: type,
    config: "VllmConfig",
    shape: MlaShape,
    weights: "torch.Tensor",
    topk: "torch.Tensor | None",
    name: str,
) -> Any:
    from vllm.model_executor.layers.attention.mla_attention import MLAAttention

    layer = MLAAttention(
        num_heads=shape.num_q_heads,
        scale=shape.qk_head_dim**-0.5,
        qk_nope_head_dim=shape.qk_nope_head_dim,
        qk_rope_head_dim=shape.qk_rope_head_dim,
        v_head_dim=shape.v_head_dim,
        q_lora_rank=Q_LORA_RANK,
        kv_lora_rank=shape.kv_lora_rank,
        kv_b_proj=_kv_b_proj(weights),
        cache_config=config.cache_config,
        prefix=name,
        attn_backend=backend,
        use_sparse=topk is not None,
        topk_indices_buffer=topk,
    )
    layer.process_weights_after_loading(weights.dtype)
    impl: Any = layer.impl
    if getattr(impl, "dcp_world_size", None) in (None, -1):
        impl.dcp_world_size, impl.dcp_rank = 1, 0  # one rank; up to 0.25 set at first use
    return layer


def _kv_b_proj(weights: "torch.Tensor") -> Any:
    """vLLM's linear layer from latents to up-projected heads, sharing the weights' memory."""
    from vllm.model_executor.layers.linear import ColumnParallelLinear

    heads, expanded, rank = weights.shape
    projection = ColumnParallelLinear(
        rank, heads * expanded, bias=False, quant_config=None, params_dtype=weights.dtype
    )
    projection.weight.data = weights.flatten(0, 1)
    return projection


def metadata_builder(
    backend: Any, layer: Any, config: "VllmConfig", block_size: int, device: str
) -> Any:
    """The backend's own metadata builder, for a layer's cache with this page size."""
    import torch

    spec = dataclasses.replace(layer.get_kv_cache_spec(config), block_size=block_size)
    with refusals_of(backend):
        return backend.get_builder_cls()(spec, [layer.layer_name], config, torch.device(device))


def update_cache(
    layer: Any,
    new: "tuple[torch.Tensor, torch.Tensor]",
    cache: "torch.Tensor",
    slots: "torch.Tensor",
    metadata: Any,
) -> None:
    """Write new latents and RoPE keys as the layer's `forward` does, before its `forward_impl`.

    In 0.33 a method of the layer does it, which knows when a scale of 1 need not be applied.
    """
    how = layer.kv_cache_dtype, layer._k_scale
    if hasattr(layer, "update_kv_cache"):
        layer.update_kv_cache(*new, cache, slots, metadata, *how)
    else:
        layer.impl.do_kv_cache_update(*new, cache, slots, *how)


class ReadyHeads:
    """Replaces kv_b_proj: replays its results of the first pass, call by call, without the product.

    With it scope kernel times vLLM's prefill without the up-projection of keys and values.
    """

    def __init__(self, projection: Any) -> None:
        self._projection, self.weight = projection, projection.weight
        self._made: list[torch.Tensor] = []
        self._at: int | None = None  # the next call of a pass; None while recording

    def __call__(self, latents: "torch.Tensor") -> "tuple[torch.Tensor]":
        if self._at is None:
            self._made.append(self._projection(latents)[0])
            return (self._made[-1],)
        ready = self._made[self._at]
        self._at = (self._at + 1) % len(self._made)
        return (ready,)

    def recorded(self) -> int:
        """End the recording; returns the bytes it holds."""
        self._at = 0
        return sum(each.nbytes for each in self._made)
