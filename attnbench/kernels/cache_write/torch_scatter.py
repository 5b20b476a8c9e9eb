"""New tokens scattered into a paged cache by PyTorch's indexed assignment."""

from typing import TYPE_CHECKING, ClassVar

from attnbench.kernels.cache_write_base.backend import WriteBackend
from attnbench.kernels.cache_write_base.fp8 import quantise
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite
from attnbench.kernels.cache_write_base.latents import LatentWrite, quantise_tiles

if TYPE_CHECKING:
    import torch


class TorchScatter(WriteBackend):
    """The baseline that vLLM's and FlashInfer's write kernels should beat.

    It cannot skip slots of -1, so it gets the tokens without their padding.
    """

    name: ClassVar = "torch"
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla")
    latent_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla")

    def write_keys_values(self, write: KeyValueWrite) -> KeyValueWrite:
        import torch

        size, cache = write.block_size, write.cache
        if write.quantised:
            cache = cache.view(torch.uint8)  # not every device can index fp8
        tokens = [slots[: write.num_tokens] for slots in write.mappings]
        new = [each[:, : write.num_tokens].transpose(0, 1) for each in write.new]
        scales = write.scales[:, None, None].to(write.dtype)

        def launch(index: int) -> None:
            values = new[index]  # [tokens, 2, heads, head dim]
            if write.quantised:
                values = quantise(values, scales, write.kv_dtype).view(torch.uint8)
            cache[tokens[index] // size, :, tokens[index] % size] = values

        return write.written_by(launch, tokens[0].nbytes)

    def write_latents(self, write: LatentWrite) -> LatentWrite:
        import torch

        size, rows = write.block_size, write.cache
        if write.quantised:
            rows = rows.view(torch.uint8)
        tokens = [slots[: write.num_tokens] for slots in write.mappings]

        def launch(index: int) -> None:
            row = _row(write, index)
            rows[tokens[index] // size, tokens[index] % size] = row

        return write.written_by(launch, tokens[0].nbytes)


def _row(write: LatentWrite, index: int) -> "torch.Tensor":
    """The stored row of each token: [tokens, latent], or its bytes if fp8."""
    import torch

    latents, ropes = (each[index][: write.num_tokens] for each in (write.latents, write.ropes))
    if write.tiled:
        numbers, scales = quantise_tiles(latents, write.kv_dtype)
        return torch.cat([each.view(torch.uint8) for each in (numbers, scales, ropes)], 1)
    new = torch.cat([latents, ropes], 1)
    return quantise(new, write.scale, write.kv_dtype).view(torch.uint8) if write.quantised else new
