"""The KV cache in a backend's own shape and memory order.

Up to 0.25 a class gives its logical shape and the order in memory; from 0.30 vLLM has one logical
shape [pages, heads, block, 2 * dim] and names memory orders.
"""

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.kernels.base import Refused

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig
    from vllm.v1.attention.backend import AttentionBackend

# The newer releases' names for the orders of a page.
LAYOUT_NAMES = {"NHD": "LBNHC", "HND": "LBHNC"}


@dataclass(frozen=True, slots=True)
class CacheFormat:
    """How one layer's cache stands in memory."""

    shape: tuple[int, ...]  # in memory, pages first
    order: tuple[int, ...]  # the permutation of `shape` that the backend's code sees
    joined: bool  # keys and values side by side in the last dimension

    def viewed(self, memory: "torch.Tensor") -> "torch.Tensor":
        """One layer's memory as the backend takes it."""
        return memory.permute(self.order)

    def by_token(self, memory: "torch.Tensor") -> "torch.Tensor":
        """The same memory as [pages, block, 2, heads, dim], whatever the order."""
        seen = self.viewed(memory)
        if self.joined:  # [pages, heads, block, 2 * dim]
            return seen.unflatten(-1, (2, -1)).permute(0, 2, 3, 1, 4)
        return seen.transpose(1, 2)  # [pages, 2, block, heads, dim]


def use_layout(config: "VllmConfig", layout: str | None) -> str:
    """Set the order of a page for this process, and say which it is.

    Raises Refused where this vLLM offers no choice. Builders and impls read it: call it first.
    """
    if importlib.util.find_spec("vllm.v1.kv_cache_layout") is not None:
        cache: Any = config.cache_config
        cache.kv_cache_layout = LAYOUT_NAMES[layout or "NHD"]
        return layout or "NHD"
    from vllm.v1.attention.backends.utils import set_kv_cache_layout

    set_kv_cache_layout(layout or "NHD")
    return layout or "NHD"


def cache_format(
    cls: "type[AttentionBackend]",
    config: "VllmConfig",
    num_pages: int,
    block_size: int,
    num_kv_heads: int,
    head_dim: int,
) -> CacheFormat:
    """The format of a cache of keys and values; `use_layout` must have been called."""
    backend: Any = cls
    if hasattr(backend, "get_kv_cache_shape"):
        dtype = config.cache_config.cache_dtype
        logical = backend.get_kv_cache_shape(
            num_pages, block_size, num_kv_heads, head_dim, cache_dtype_str=dtype
        )
        return _ordered(tuple(logical), _stride_order(backend, len(logical)))
    return _named(config, (num_pages, num_kv_heads, block_size, 2 * head_dim))


def _stride_order(backend: Any, dims: int) -> tuple[int, ...]:
    try:
        return tuple(backend.get_kv_cache_stride_order())
    except (AttributeError, NotImplementedError):
        return tuple(range(dims))


def _ordered(logical: tuple[int, ...], order: tuple[int, ...]) -> CacheFormat:
    if order[0] != 0 or len(logical) != 5 or logical[1] != 2:
        raise Refused(f"keeps a cache of shape {logical}, which attnbench cannot fill")
    physical = tuple(logical[dim] for dim in order)
    inverse = tuple(order.index(dim) for dim in range(len(order)))
    return CacheFormat(physical, inverse, joined=False)


def _named(config: "VllmConfig", logical: tuple[int, ...]) -> CacheFormat:
    cache: Any = config.cache_config
    if cache.kv_cache_layout == LAYOUT_NAMES["HND"]:
        return CacheFormat(logical, (0, 1, 2, 3), joined=True)
    pages, heads, block, width = logical
    return CacheFormat((pages, block, heads, width), (0, 2, 1, 3), joined=True)
