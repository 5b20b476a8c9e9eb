"""Formats of a token's latents in the cache: unchanged, fp8, or DeepSeek's fp8_ds_mla.

A row of fp8_ds_mla, as vLLM's concat_and_cache_mla writes it and FlashMLA's sparse kernels read it:
the compressed KV in e4m3, an fp32 scale per 128 elements, then the RoPE key in bf16.
"""

from typing import TYPE_CHECKING

from attnbench.specs.cost import FP8_DS_MLA_TILE
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    import torch

E4M3_MAX = 448.0
BYTES = ("fp8", "fp8_e4m3", "fp8_ds_mla")  # formats stored as uint8


def encode(latents: "torch.Tensor", shape: MlaShape, kv_cache_dtype: str) -> "torch.Tensor":
    """Latents [..., latent] as stored: unchanged, or uint8 [..., bytes per row]."""
    import torch

    if kv_cache_dtype not in BYTES:
        return latents
    if kv_cache_dtype != "fp8_ds_mla":
        return _e4m3(latents.float()).view(torch.uint8)
    compressed, rope = latents.split([shape.kv_lora_rank, shape.qk_rope_head_dim], dim=-1)
    tiles = compressed.float().unflatten(-1, (-1, FP8_DS_MLA_TILE))
    smallest = torch.finfo(torch.float32).tiny
    scales = (tiles.abs().amax(-1) / E4M3_MAX).clamp_min(smallest)
    values = _e4m3(tiles / scales.unsqueeze(-1)).flatten(-2)
    parts = (values, scales, rope.to(torch.bfloat16).contiguous())
    return torch.cat([part.view(torch.uint8) for part in parts], dim=-1)


def decode(
    stored: "torch.Tensor", shape: MlaShape, kv_cache_dtype: str, dtype: "torch.dtype"
) -> "torch.Tensor":
    """The latents that stored rows represent: [..., latent] of `dtype`."""
    import torch

    if kv_cache_dtype not in BYTES:
        return stored.to(dtype)
    if kv_cache_dtype != "fp8_ds_mla":
        return stored.view(torch.float8_e4m3fn).to(dtype)
    rank, rope = shape.kv_lora_rank, shape.qk_rope_head_dim
    sizes = [rank, rank // FP8_DS_MLA_TILE * 4, 2 * rope]
    values, scales, keys = (part.contiguous() for part in stored.split(sizes, dim=-1))
    tiles = values.view(torch.float8_e4m3fn).float().unflatten(-1, (-1, FP8_DS_MLA_TILE))
    compressed = (tiles * scales.view(torch.float32).unsqueeze(-1)).flatten(-2)
    return torch.cat([compressed, keys.view(torch.bfloat16).float()], dim=-1).to(dtype)


def _e4m3(values: "torch.Tensor") -> "torch.Tensor":
    import torch

    return values.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn)
