"""Consecutive requests of a batch in FlashInfer's form: index arrays instead of page tables."""

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Self

from attnbench.kernels.inputs import UNUSED_ENTRY, PageTables
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class PagedRequests:
    """`count` requests from the batch's `first`; int32 arrays on the CPU, where plans read them."""

    first: int
    count: int
    tokens: slice  # among the batch's new tokens
    q_lens: "torch.Tensor"  # [count]
    kv_lens: "torch.Tensor"  # [count]
    qo_indptr: "torch.Tensor"  # [count + 1], in tokens
    kv_indptr: "torch.Tensor"  # [count + 1], in pages
    last_page_len: "torch.Tensor"  # [count], tokens in a request's last page

    @classmethod
    def of(cls, batch: Batch, first: int, end: int, block_size: int) -> Self:
        """The requests from `first` up to but excluding `end`."""
        chosen = batch.requests[first:end]
        q_lens, kv_lens = [r.q_len for r in chosen], [r.kv_len for r in chosen]
        start = sum(request.q_len for request in batch.requests[:first])
        pages = [-(-length // block_size) for length in kv_lens]
        return cls(
            first=first,
            count=len(chosen),
            tokens=slice(start, start + sum(q_lens)),
            q_lens=_int32(q_lens),
            kv_lens=_int32(kv_lens),
            qo_indptr=_int32([0, *accumulate(q_lens)]),
            kv_indptr=_int32([0, *accumulate(pages)]),
            last_page_len=_int32([(length - 1) % block_size + 1 for length in kv_lens]),
        )

    @property
    def max_q_len(self) -> int:
        """The most new tokens of a request."""
        return int(self.q_lens.max())

    @property
    def max_kv_len(self) -> int:
        """The longest sequence."""
        return int(self.kv_lens.max())

    @property
    def cumulative_kv_lens(self) -> "torch.Tensor":
        """int32 [count + 1], in tokens."""
        return _int32([0, *accumulate(self.kv_lens.tolist())])

    def page_indices(self, tables: PageTables, index: int) -> "torch.Tensor":
        """The pages of all requests in set `index`, in token order: int32 [kv_indptr[-1]]."""
        table = tables.tables[index, self.first : self.first + self.count]
        return table[table != UNUSED_ENTRY]

    def block_table(self, tables: PageTables, index: int, tokens: int = 0) -> "torch.Tensor":
        """The table of set `index`, int32 [count, most pages], for kernels that read all of it.

        Wide enough for at least `tokens`. Unused entries repeat the request's first page: these
        kernels may fetch pages and mask them later, and in production the entries are valid too.
        """
        import torch

        table = tables.tables[index, self.first : self.first + self.count]
        width = -(-max(self.max_kv_len, tokens) // tables.block_size)
        wide = torch.nn.functional.pad(
            table[:, :width], (0, max(0, width - table.shape[1])), value=UNUSED_ENTRY
        )
        return torch.where(wide == UNUSED_ENTRY, wide[:, :1], wide).contiguous()


def _int32(values: list[int]) -> "torch.Tensor":
    import torch

    return torch.tensor(values, dtype=torch.int32)
