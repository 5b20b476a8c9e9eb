"""NVFP4: two e2m1 per byte, one e4m3 scale per 16 elements of a row, one global scale.

value = e2m1 * scale / `GLOBAL`. The scales are stored as tensor cores read them: in tiles of 128
rows by 4, with rows 32 apart side by side (cuBLAS, "1D Block Scaling Factors Layout").
"""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK = 16
MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
# A block whose largest value is 6 gets e4m3's largest scale, 448; outputs of attention over normal
# values stay below 6.
GLOBAL = 448.0


def scales_shape(rows: int, columns: int) -> tuple[int, int]:
    """The shape of the scales of [rows, columns], in whole tiles."""
    return -(-rows // 128) * 128, -(-columns // BLOCK // 4) * 4


def quantise(values: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Quantise [rows, columns] to bytes [rows, columns / 2], even columns low, and e4m3 scales."""
    import torch

    rows, columns = values.shape
    blocks = values.float().view(rows, columns // BLOCK, BLOCK)
    wanted = blocks.abs().amax(-1) / MAGNITUDES[-1] * GLOBAL
    scales = wanted.clamp(max=448.0).to(torch.float8_e4m3fn)
    steps = scales.float().clamp_min(2.0**-9)[..., None] / GLOBAL
    codes = torch.bucketize((blocks / steps).abs(), _between(values.device)).to(torch.uint8)
    codes = (codes | (blocks < 0).to(torch.uint8) << 3).view(rows, columns)
    packed = codes[:, ::2] | codes[:, 1::2] << 4
    tiled = scales.new_zeros(scales_shape(rows, columns))
    tiled.view(torch.uint8)[:rows, : columns // BLOCK] = scales.view(torch.uint8)
    return packed, _tiles(tiled.view(torch.uint8)).view(torch.float8_e4m3fn)


@cache
def _between(device: "torch.device") -> "torch.Tensor":
    """The rounding thresholds; cached, as graph capture allows no copy to the device."""
    import torch

    magnitudes = torch.tensor(MAGNITUDES, device=device)
    return (magnitudes[1:] + magnitudes[:-1]) / 2


def dequantise(packed: "torch.Tensor", scales: "torch.Tensor") -> "torch.Tensor":
    """The inverse of `quantise`: fp32 [rows, columns]."""
    import torch

    rows, columns = packed.shape[0], packed.shape[1] * 2
    codes = torch.stack([packed & 0xF, packed >> 4], dim=-1).view(rows, columns).long()
    magnitudes = torch.tensor(MAGNITUDES, device=packed.device)
    signed = magnitudes[codes & 7] * (1 - 2 * (codes >> 3))
    plain = _rows(scales.view(torch.uint8)).view(torch.float8_e4m3fn).float() / GLOBAL
    of_block = plain[:rows, : columns // BLOCK, None]
    return (signed.view(rows, -1, BLOCK) * of_block).view(rows, columns)


def _tiles(plain: "torch.Tensor") -> "torch.Tensor":
    """Reorder [rows, scales] of whole tiles from row-major to tile after tile."""
    rows, columns = plain.shape
    tiles = plain.view(rows // 128, 4, 32, columns // 4, 4).permute(0, 3, 2, 1, 4)
    return tiles.reshape(rows, columns)


def _rows(tiled: "torch.Tensor") -> "torch.Tensor":
    """The inverse of `_tiles`."""
    rows, columns = tiled.shape
    tiles = tiled.view(rows // 128, columns // 4, 32, 4, 4).permute(0, 3, 2, 1, 4)
    return tiles.reshape(rows, columns)
