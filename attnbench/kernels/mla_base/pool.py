"""One pool of pages with the cached latents of all working sets."""

from typing import TYPE_CHECKING, Self

from attnbench.kernels.cache_write_base.fp8 import one_step
from attnbench.kernels.groups import Keys, Lengths, groups_of
from attnbench.kernels.inputs import PageTables, cached, signs, spoil, torch_dtype, turn
from attnbench.kernels.mla_base.formats import BYTES, E4M3_MAX, decode, encode
from attnbench.specs.case import Case
from attnbench.specs.cost import latent_row_bytes
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    import torch

STEP_PAGES = 4096  # quantised per step, as a pool may take most of the memory
NAN_BYTE = 0xFF  # NaN in e4m3 and, repeated, in bf16, fp16 and fp32
LARGEST_E4M3 = 0x7E  # 448


class LatentPool:
    """`stored` [pages, block, latent] of the case's dtype, or uint8 [pages, block, row bytes]."""

    def __init__(self, stored: "torch.Tensor", case: Case, tables: PageTables) -> None:
        assert isinstance(case.shape, MlaShape)
        self.stored, self.case, self.shape, self.tables = stored, case, case.shape, tables

    @classmethod
    def filled(
        cls, case: Case, tables: PageTables, generator: "torch.Generator", *, nan_tails: bool
    ) -> Self:
        """Random latents, or zeros; NaN in pages that no request owns.

        Behind a request's last token stands NaN or, without `nan_tails`, a large finite value.
        """
        import torch

        assert isinstance(case.shape, MlaShape)
        dtype, kv = torch_dtype(case.dtype), case.kv_cache_dtype
        sizes = (tables.num_pages, tables.block_size)
        if kv not in BYTES:
            stored = cached((*sizes, case.shape.latent_dim), dtype, generator, case.kv_data)
            spoil(stored, tables, case.batch, nan_tails=nan_tails)
            return cls(stored, case, tables)
        stored = torch.empty(
            (*sizes, latent_row_bytes(case)), dtype=torch.uint8, device=generator.device
        )
        for part in stored.split(STEP_PAGES):
            page = (*part.shape[:2], case.shape.latent_dim)
            part.copy_(encode(cached(page, dtype, generator, case.kv_data), case.shape, kv))
        # As a byte of fp8_ds_mla's scales, the largest value would make them infinite.
        finite = not nan_tails and kv != "fp8_ds_mla"
        _spoil_bytes(stored, tables, case, LARGEST_E4M3 if finite else NAN_BYTE)
        return cls(stored, case, tables)

    @property
    def page_bytes(self) -> int:
        """Bytes of one page."""
        return int(self.stored[0].nbytes)

    def new_slots(self) -> "torch.Tensor":
        """The slot of each of the batch's new tokens: int64 [sets, tokens]."""
        tables, groups = self.tables.tables, groups_of(self.case.batch)
        lengths = Lengths.of(self.case.batch, tables.device)
        new = Keys.within(groups, lengths, len(tables), lambda group: group.new)
        pages, offsets = self.tables.at(new)
        return pages * self.tables.block_size + offsets

    def write(self, slots: "torch.Tensor", latents: "torch.Tensor") -> None:
        """Store latents [..., latent] in slots int64 [...], counted over all pages."""
        rows = encode(latents, self.shape, self.case.kv_cache_dtype)
        self.stored.view(-1, self.stored.shape[-1])[slots.flatten()] = rows.flatten(0, -2)

    def turn(self, seed: int) -> "torch.Tensor | None":
        """Change the sign of half of the latents in place; 1 or -1 by slot: int8 [slots].

        None, and nothing is done, for fp8_ds_mla: it has several formats.
        """
        if self.case.kv_cache_dtype == "fp8_ds_mla":
            return None
        tokens = signs(tuple(self.stored.shape[:2]), str(self.stored.device), seed)
        turn(self.stored, tokens[..., None])
        return tokens.flatten()

    def poison(self, slots: "torch.Tensor") -> None:
        """Fill these slots with NaN."""
        nan = float("nan") if self.stored.dtype.itemsize > 1 else NAN_BYTE
        self.stored.view(-1, self.stored.shape[-1])[slots.flatten()] = nan

    def holds(self, slots: "torch.Tensor", latents: "torch.Tensor") -> bool:
        """Whether slots int64 [n] hold latents [n, latent].

        An fp8 element may be a neighbour on fp8's grid, since kernels round differently.
        """
        import torch

        kv, rank = self.case.kv_cache_dtype, self.shape.kv_lora_rank
        expected = decode(encode(latents, self.shape, kv), self.shape, kv, torch.float32)
        error = (self.read(slots, torch.float32) - expected).abs()
        if kv not in BYTES:
            return bool((error == 0).all())
        tiled = kv == "fp8_ds_mla"
        unit = float(latents.abs().max()) / E4M3_MAX if tiled else 1.0
        allowed = one_step(kv, rank if tiled else self.shape.latent_dim, unit)
        return bool((error <= allowed.slack(expected)).all())

    def read(self, slots: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
        """The latents in slots int64 [...]: [..., latent] of `dtype`."""
        rows = self.stored.view(-1, self.stored.shape[-1])[slots]
        return decode(rows, self.shape, self.case.kv_cache_dtype, dtype)

    def slots(self, table: "torch.Tensor", positions: "torch.Tensor") -> "torch.Tensor":
        """The slots [n, k] of positions int64 [n, k] in requests with pages int32 [n, pages]."""
        block = self.tables.block_size
        pages = table.long().gather(1, positions // block)
        return pages * block + positions % block


def _spoil_bytes(stored: "torch.Tensor", tables: PageTables, case: Case, tail: int) -> None:
    stored[tables.strangers] = NAN_BYTE
    stored[tables.tails(case.batch)] = tail
