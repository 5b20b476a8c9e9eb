"""The write of the new latents at scope layer: FlashInfer's append_paged_mla_kv_cache."""

from typing import TYPE_CHECKING

from attnbench.kernels.base import Setting
from attnbench.kernels.cache_write_base.requests import Requests
from attnbench.kernels.flashinfer_mla.backend import DEFAULT_BLOCK_SIZE
from attnbench.kernels.mla_base.prepared import MlaPrepared
from attnbench.specs.case import Case

if TYPE_CHECKING:
    import torch


class Append:
    """Writes the new tokens of one set, by index."""

    def __init__(self, prepared: MlaPrepared) -> None:
        rank, slots, block = prepared.shape.kv_lora_rank, prepared.slots, prepared.block_size
        stored, new = prepared.pool.stored, prepared.new_latents
        self._new = [(each[:, :rank].contiguous(), each[:, rank:].contiguous()) for each in new]
        self._caches = stored[..., :rank], stored[..., rank:]
        self._requests = Requests.of(slots // block, slots % block)

    def renew(self, latents: "torch.Tensor") -> None:
        """Take other new tokens, [sets, tokens, latent]."""
        for (compressed, rope), new in zip(self._new, latents, strict=True):
            rank = compressed.shape[-1]
            compressed.copy_(new[:, :rank])
            rope.copy_(new[:, rank:])

    def __call__(self, index: int) -> None:
        from flashinfer import append_paged_mla_kv_cache

        requests = self._requests
        append_paged_mla_kv_cache(
            *self._new[index],
            requests.batch[index],
            requests.positions[index],
            *self._caches,
            requests.pages[index],
            requests.indptr,
            requests.last_lengths[index],
        )


class AppendingPrepared(MlaPrepared):
    """Its calls run `append`, which is None at scope kernel, before they attend."""

    def __init__(self, case: Case, setting: Setting, num_decode: int) -> None:
        super().__init__(case, setting, num_decode, case.block_size or DEFAULT_BLOCK_SIZE)
        self.append = Append(self) if self.layer else None

    def renew(self, seed: int) -> None:
        super().renew(seed)
        if self.append is not None:
            self.append.renew(self.new_latents)
