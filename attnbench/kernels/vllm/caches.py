"""The KV caches of several layers, filled with real data in a backend's own format."""

from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.kernels.cache_write_base.fp8 import quantise
from attnbench.kernels.groups import Keys
from attnbench.kernels.inputs import LARGE, PageTables, as_stored, cached, clamped, raw, spoil
from attnbench.kernels.paged import KEY_SCALE, STEP_PAGES, VALUE_SCALE
from attnbench.kernels.vllm.kv_cache import CacheFormat
from attnbench.kernels.vllm.metadata import NULL_PAGE, new_tokens
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch


class LayerCaches:
    """One cache per layer, all in one pool; the layers share the page tables.

    `dtype` is the model's, `kv_dtype` the cache's; fp8 is stored as bytes, as in vLLM.
    """

    def __init__(
        self,
        format_: CacheFormat,
        tables: PageTables,
        layers: int,
        dtype: "torch.dtype",
        kv_dtype: "torch.dtype",
    ) -> None:
        import torch

        self.tables, self.dtype, self.kv_dtype = tables, dtype, kv_dtype
        self.quantised = kv_dtype.itemsize == 1
        device = tables.tables.device
        memory = torch.empty(
            (layers * tables.num_pages, *format_.shape[1:]),
            dtype=torch.uint8 if self.quantised else dtype,
            device=device,
        )
        self.pool = format_.by_token(memory)  # [layers * pages, block, 2, heads, dim]
        self.views = format_.viewed(memory).split(tables.num_pages)  # each as the backend takes it
        self.first_pages = torch.arange(layers, device=device) * tables.num_pages

    @property
    def nan(self) -> float:
        """NaN as stored in the pool."""
        return as_stored(float("nan"), self.kv_dtype)

    @property
    def page_bytes(self) -> int:
        """Bytes of one page, keys and values."""
        return int(self.pool[0].nbytes)

    def fill(
        self, batch: Batch, kv_data: str, generator: "torch.Generator", *, nan_tails: bool
    ) -> None:
        """Fill in random normal values or zeros, and hostile values where nothing may be read."""
        for cache in self.pool.split(self.tables.num_pages):
            for part in cache.split(STEP_PAGES):
                values = cached(tuple(part.shape), self.dtype, generator, kv_data)
                part.copy_(self._stored(values))
        spoil(self.pool.view(self.kv_dtype), self._tables_of_all, batch, nan_tails=nan_tails)
        self.pool[self.first_pages + NULL_PAGE] = as_stored(LARGE, self.kv_dtype)

    @property
    def _tables_of_all(self) -> PageTables:
        """The tables of each layer, with the pages of the pool."""
        tables = self.tables.tables + self.first_pages.int()[:, None, None]
        strangers = self.tables.strangers + self.first_pages[:, None]
        return replace(self.tables, tables=tables, strangers=strangers.flatten())

    def refill(
        self,
        slots: "tuple[torch.Tensor, torch.Tensor]",
        kv_data: str,
        generator: "torch.Generator",
    ) -> None:
        """Draw other contents for these slots, pages and offsets both [layers, tokens]."""
        sizes = (*slots[0].shape, *self.pool.shape[2:])
        self.pool[slots] = self._stored(cached(sizes, self.dtype, generator, kv_data))

    def slots(self, batch: Batch) -> "tuple[torch.Tensor, torch.Tensor]":
        """Pages of the pool and offsets of the batch's new tokens, each [layers, tokens]."""
        tokens = new_tokens(batch, self.tables)
        pages = self.first_pages[:, None] + tokens.pages
        return pages, tokens.offsets.expand_as(pages)

    def values(self, stored: "torch.Tensor", heads: bool = True) -> "torch.Tensor":
        """Stored [..., 2, heads, dim], or [..., 2, dim] without heads, as fp32."""
        if not self.quantised:
            return stored.float()
        return stored.contiguous().view(self.kv_dtype).float() * self._scales(heads)

    def keys(self, at: Keys) -> "torch.Tensor":
        """The values of single keys, each set being a layer: fp32 [..., heads, dim]."""
        stored = self.pool[*self._place(at)]
        if not self.quantised:
            return stored.float()
        return stored.view(self.kv_dtype).float() * KEY_SCALE

    def put_keys(self, at: Keys, keys: "torch.Tensor") -> None:
        """Store the values of keys [..., heads, dim]."""
        unit = KEY_SCALE if self.quantised else 1.0
        self.pool[*self._place(at)] = raw(clamped(keys / unit, self.kv_dtype))

    def _place(self, at: Keys) -> "tuple[torch.Tensor, torch.Tensor, int]":
        pages, offsets = self.tables.at(replace(at, sets=at.sets.new_zeros(1)))
        return self.first_pages[at.sets] + pages, offsets, 0

    def _stored(self, values: "torch.Tensor") -> "torch.Tensor":
        """Values [..., 2, heads, dim] as stored in the pool."""
        if not self.quantised:
            return values
        return raw(quantise(values, self._scales(heads=True), self.kv_dtype))

    def _scales(self, heads: bool) -> "torch.Tensor":
        import torch

        both = torch.tensor([KEY_SCALE, VALUE_SCALE], device=self.pool.device)
        return both.view(2, 1, 1) if heads else both.view(2, 1)
