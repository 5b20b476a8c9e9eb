"""The compressed latents of MLA with their RoPE keys, written into pages without heads."""

from typing import TYPE_CHECKING

from attnbench.kernels.base import Setting
from attnbench.kernels.cache_write_base.fp8 import KEY_RANGE, one_step, quantise, scale_for
from attnbench.kernels.cache_write_base.prepared import CacheWrite, inputs_of
from attnbench.kernels.cache_write_base.slots import PADDING
from attnbench.kernels.inputs import cached, digest_of, torch_dtype
from attnbench.kernels.tolerance import EXACT, Tolerance
from attnbench.specs.case import Case
from attnbench.specs.cost import cached_row_bytes
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    import torch

# fp8_ds_mla: a row is 512 latents in e4m3, an fp32 scale per 128 of them, then RoPE unchanged.
TILE = 128
SCALES_AT, ROPE_AT = 512, 528  # bytes into the row


class LatentWrite(CacheWrite):
    """`cache` is [pages, block, latent], or bytes [pages, block, 656] for fp8_ds_mla."""

    latents: "tuple[torch.Tensor, ...]"  # by set, [tokens + PADDING, rank]
    ropes: "tuple[torch.Tensor, ...]"  # by set, [tokens + PADDING, RoPE dim]
    scale: "torch.Tensor"  # fp32 scalar: value = stored * scale

    def __init__(self, case: Case, setting: Setting) -> None:
        assert isinstance(case.shape, MlaShape)
        self.shape, self.tiled = case.shape, case.kv_cache_dtype == "fp8_ds_mla"
        self.rank = case.shape.kv_lora_rank
        stored = {"auto": case.dtype, "fp8_ds_mla": "fp8"}
        self.kv_dtype = torch_dtype(stored.get(case.kv_cache_dtype, case.kv_cache_dtype))
        super().__init__(case, setting)
        self.cache = self.pool.pages if self.tiled else self.pool.pages.view(self.kv_dtype)

    def page(self) -> tuple[tuple[int, ...], int]:
        return (self.block_size, cached_row_bytes(self.case)), 0

    def fill(self, sets: int, generator: "torch.Generator") -> None:
        tokens, rope = self.num_tokens + PADDING, self.shape.qk_rope_head_dim
        inputs = inputs_of(self.case, sets)
        self.new, self.new_ropes = (
            cached((inputs, tokens, width), self.dtype, generator, self.case.kv_data).expand(
                sets, tokens, width
            )
            for width in (self.rank, rope)
        )
        self.latents, self.ropes = self.new.unbind(), self.new_ropes.unbind()
        self.scale = scale_for(self._largest(), KEY_RANGE)
        self.tolerance = self._allowed()

    def refill(self, generator: "torch.Generator") -> None:
        for new in (self.new, self.new_ropes):
            held = new[: inputs_of(self.case, len(new))]
            held.copy_(cached(tuple(held.shape), self.dtype, generator, self.case.kv_data))
        self.tolerance = self._allowed()

    def digest(self) -> "torch.Tensor":
        return digest_of(self.new, self.new_ropes, self.scale, self.slots.mapping)

    def _largest(self) -> "torch.Tensor":
        import torch

        return torch.maximum(self.new.abs().amax(), self.new_ropes.abs().amax())

    def _allowed(self) -> Tolerance:
        import torch

        if not self.quantised:
            return EXACT
        if self.tiled:
            unit = float(self._largest()) / torch.finfo(self.kv_dtype).max
            return one_step("fp8_ds_mla", self.rank, unit)
        return one_step(self.case.kv_cache_dtype, self.shape.latent_dim)

    def output(self, index: int) -> "torch.Tensor":
        import torch

        where = self.slots.pages[index], self.slots.offsets[index]
        if not self.quantised:
            return self.cache[where]
        stored = self.cache.view(torch.uint8)[where]  # not every device can index fp8
        if not self.tiled:
            return stored.view(self.kv_dtype).to(torch.bfloat16)
        scales = stored[:, SCALES_AT:ROPE_AT].view(torch.float32)
        tiles = stored[:, :SCALES_AT].view(self.kv_dtype).float().unflatten(1, (-1, TILE))
        rope = stored[:, ROPE_AT:].view(self.dtype).float()
        return torch.cat([(tiles * scales[:, :, None]).flatten(1), rope], 1)

    def expected(self, sets: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        import torch

        latents, rope = self.new[sets, rows].float(), self.new_ropes[sets, rows].float()
        if self.tiled:
            numbers, scales = quantise_tiles(latents, self.kv_dtype)
            tiles = numbers.float().unflatten(1, (-1, TILE)) * scales[:, :, None]
            return torch.cat([tiles.flatten(1), rope], 1)
        new = torch.cat([latents, rope], 1)
        return quantise(new, self.scale, self.kv_dtype).float() if self.quantised else new


def quantise_tiles(
    latents: "torch.Tensor", dtype: "torch.dtype"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """[n, rank] as fp8, and fp32 scales that map each tile's largest element to fp8's largest."""
    import torch

    tiles = latents.float().unflatten(1, (-1, TILE))
    smallest = torch.finfo(torch.float32).tiny
    scales = (tiles.abs().amax(dim=2) / torch.finfo(dtype).max).clamp_min(smallest)
    return quantise(tiles, scales[:, :, None], dtype).flatten(1), scales
