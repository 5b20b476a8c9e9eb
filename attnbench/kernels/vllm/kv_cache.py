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

# Newer releases' names of the memory orders of a page.
LAYOUT_NAMES = {"NHD": "LBNHC", "HND": "LBHNC"}


@dataclass(frozen=True, slots=True)
class CacheFormat:
    """The memory format of one layer's cache.

    Axes are letters: p pages, b tokens of a page, 2 key and value, h KV heads, d head dim, w key
    and value of a head side by side.
    """

    shape: tuple[int, ...]  # in memory
    axes: str  # as the backend's code sees them
    order: tuple[int, ...]  # the permutation of `shape` to `axes`

    @property
    def layout(self) -> str:
        """NHD if a page's tokens come before its heads in memory, else HND."""
        tokens, heads = (self.order[self.axes.index(axis)] for axis in "bh")
        return "NHD" if tokens < heads else "HND"

    def viewed(self, memory: "torch.Tensor") -> "torch.Tensor":
        """The memory as the backend takes it."""
        return memory.permute(self.order)

    def by_token(self, memory: "torch.Tensor") -> "torch.Tensor":
        """The same memory as [pages, block, 2, heads, dim], whatever the order."""
        seen, axes = self.viewed(memory), self.axes
        if "w" in axes:
            seen, axes = seen.unflatten(axes.index("w"), (2, -1)), axes.replace("w", "2d")
        return seen.permute([axes.index(axis) for axis in "pb2hd"])


def use_layout(config: "VllmConfig", layout: str) -> None:
    """Set the order of a page for this process; builders and impls read it, so call it first.

    A backend may still use another; the result of `cache_format` says which.
    """
    if importlib.util.find_spec("vllm.v1.kv_cache_layout") is not None:
        cache: Any = config.cache_config
        cache.kv_cache_layout = LAYOUT_NAMES[layout]
        return
    from vllm.v1.attention.backends.utils import set_kv_cache_layout

    set_kv_cache_layout(layout)


def required_layout(cls: "type[AttentionBackend]") -> str | None:
    """The order of a page that the backend requires of a server; None if it takes either."""
    backend: Any = cls
    if hasattr(backend, "get_required_kv_cache_layout"):
        required: str | None = backend.get_required_kv_cache_layout()
        return required
    supported = {layout.name for layout in backend.supported_kv_cache_layouts() or ()}
    ours = [name for name, vllms in LAYOUT_NAMES.items() if vllms in supported]
    return ours[0] if ours else None


def cache_format(
    cls: "type[AttentionBackend]",
    config: "VllmConfig",
    num_pages: int,
    block_size: int,
    num_kv_heads: int,
    head_dim: int,
) -> CacheFormat:
    """The format of a cache of keys and values; call `use_layout` first."""
    backend: Any = cls
    if not hasattr(backend, "get_kv_cache_shape"):
        return _named(config, num_pages, num_kv_heads, block_size, 2 * head_dim)
    dtype = config.cache_config.cache_dtype
    logical = tuple(
        backend.get_kv_cache_shape(
            num_pages, block_size, num_kv_heads, head_dim, cache_dtype_str=dtype
        )
    )
    known = {
        (num_pages, 2, block_size, num_kv_heads, head_dim): "p2bhd",
        (num_pages, block_size, num_kv_heads, 2 * head_dim): "pbhw",
    }
    order = _stride_order(backend, len(logical))
    if logical not in known or order[0] != 0:
        raise Refused(f"has a cache of shape {logical}, which attnbench cannot fill")
    return CacheFormat(
        tuple(logical[dim] for dim in order),
        known[logical],
        tuple(order.index(dim) for dim in range(len(order))),
    )


def _stride_order(backend: Any, dims: int) -> tuple[int, ...]:
    """The order of the logical dimensions in memory."""
    try:
        return tuple(backend.get_kv_cache_stride_order())
    except (AttributeError, NotImplementedError):
        return tuple(range(dims))


def _named(config: "VllmConfig", pages: int, heads: int, block: int, width: int) -> CacheFormat:
    cache: Any = config.cache_config
    if cache.kv_cache_layout == LAYOUT_NAMES["HND"]:
        return CacheFormat((pages, heads, block, width), "phbw", (0, 1, 2, 3))
    return CacheFormat((pages, block, heads, width), "phbw", (0, 2, 1, 3))
