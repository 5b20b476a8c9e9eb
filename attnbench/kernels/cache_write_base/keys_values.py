"""Keys and values of attention heads, written into pages of either layout."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from attnbench.kernels.base import Setting
from attnbench.kernels.cache_write_base.fp8 import (
    KEY_RANGE,
    VALUE_RANGE,
    one_step,
    quantise,
    scale_for,
)
from attnbench.kernels.cache_write_base.prepared import CacheWrite, inputs_of
from attnbench.kernels.cache_write_base.slots import PADDING
from attnbench.kernels.inputs import cached, digest_of, torch_dtype
from attnbench.kernels.tolerance import EXACT
from attnbench.specs.case import Case
from attnbench.specs.cost import cached_elements, kv_element_bytes
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    import torch


class KeyValueWrite(CacheWrite):
    """A page holds K, then V, as in vLLM and FlashInfer.

    In memory a page is [2, block, heads, head dim] (NHD) or [2, heads, block, head dim] (HND);
    `cache` is a view of either as [pages, 2, block, heads, head dim].
    """

    keys: "tuple[torch.Tensor, ...]"  # by set, [tokens + PADDING, heads, head dim]
    values: "tuple[torch.Tensor, ...]"  # the same
    scales: "torch.Tensor"  # fp32 [2], for keys and values: value = stored * scale

    def __init__(self, case: Case, setting: Setting) -> None:
        assert isinstance(case.shape, AttnShape)
        self.shape, self.layout = case.shape, case.layout or "NHD"
        kv_dtype = case.dtype if case.kv_cache_dtype == "auto" else case.kv_cache_dtype
        self.kv_dtype = torch_dtype(kv_dtype)
        super().__init__(case, setting)
        stored = self.pool.pages.view(self.kv_dtype)
        self.cache = stored if self.layout == "NHD" else stored.transpose(2, 3)
        self.resolved = {**self.resolved, "layout": self.layout}
        self.tolerance = (
            one_step(case.kv_cache_dtype, cached_elements(case)) if self.quantised else EXACT
        )

    def page(self) -> tuple[tuple[int, ...], int]:
        heads, row = self.shape.num_kv_heads, self.shape.head_dim * kv_element_bytes(self.case)
        if self.layout == "NHD":
            return (2, self.block_size, heads, row), 1
        return (2, heads, self.block_size, row), 2

    def fill(self, sets: int, generator: "torch.Generator") -> None:
        tokens, shape = self.num_tokens + PADDING, self.shape
        sizes = (inputs_of(self.case, sets), 2, tokens, shape.num_kv_heads, shape.head_dim)
        new = cached(sizes, self.dtype, generator, self.case.kv_data)
        self.new = new.expand(sets, *sizes[1:])
        self.keys, self.values = (each.unbind() for each in self.new.unbind(1))
        largest = self.new.abs().amax(dim=(0, 2, 3, 4)).float()
        self.scales = scale_for(largest, largest.new_tensor([KEY_RANGE, VALUE_RANGE]))

    def refill(self, generator: "torch.Generator") -> None:
        held = self.new[: inputs_of(self.case, len(self.new))]
        held.copy_(cached(tuple(held.shape), self.dtype, generator, self.case.kv_data))

    def digest(self) -> "torch.Tensor":
        return digest_of(self.new, self.scales, self.slots.mapping)

    def written_by_slots(self, kernel: Callable[..., object]) -> Self:
        """One launch per set of `kernel`, which has the signature of vLLM's two kernels."""
        keys, values = self.tables
        k_scale, v_scale = self.scales.split(1)

        def launch(index: int) -> None:
            kernel(
                self.keys[index],
                self.values[index],
                keys,
                values,
                self.mappings[index],
                self.case.kv_cache_dtype,
                k_scale,
                v_scale,
            )

        return self.written_by(launch)

    @property
    def tables(self) -> "tuple[torch.Tensor, torch.Tensor]":
        """Keys and values of all pages, [pages, block, heads, head dim]; fp8 as bytes."""
        import torch

        seen = self.cache.view(torch.uint8) if self.quantised else self.cache
        keys, values = seen.unbind(1)
        return keys, values

    def output(self, index: int) -> "torch.Tensor":
        import torch

        where = self.slots.pages[index], slice(None), self.slots.offsets[index]
        if not self.quantised:
            return self.cache[where].flatten(1)
        stored = self.cache.view(torch.uint8)[where]  # not every device can index fp8
        return stored.view(self.kv_dtype).to(torch.bfloat16).flatten(1)

    def expected(self, sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        new = self.new[sets, :, rows].float()  # [n, 2, heads, head dim]
        if self.quantised:
            new = quantise(new, self.scales[:, None, None], self.kv_dtype).float()
        return new.flatten(1)
