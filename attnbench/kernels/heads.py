"""Prepared attention over keys and values of heads, each of which some query heads share."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from attnbench.kernels.base import Setting
from attnbench.kernels.reference import AttentionPrepared
from attnbench.kernels.rows import Rows
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    import torch


class HeadsPrepared(AttentionPrepared):
    """A case of standard attention; a subclass says where its keys and values are."""

    shape: AttnShape
    sinks: "torch.Tensor | None" = None  # a logit for each query head

    def __init__(self, case: Case, setting: Setting, block_size: int) -> None:
        assert isinstance(case.shape, AttnShape)
        self.case, self.shape, self.device = case, case.shape, setting.device
        super().__init__(case.batch, self.shape.num_q_heads, block_size, self.shape.num_kv_heads)
        self.scale, self.key_dim = self.shape.head_dim**-0.5, self.shape.head_dim

    @abstractmethod
    def gathered(self, rows: Rows, kv_heads: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """The keys and values of these rows' KV heads, int64 [n]: each [n, keys, head dim]."""

    def queries_of(self, rows: Rows) -> "torch.Tensor":
        """The queries of these rows: [n, head dim] or [n, m, head dim]."""
        return self.queries[rows.sets_of_rows, rows.tokens, rows.heads]

    def attended(self, rows: Rows) -> "torch.Tensor":
        kv_heads = rows.first_heads * self.shape.num_kv_heads // self.shape.num_q_heads
        keys, values = self.gathered(rows, kv_heads)
        return self.attend(
            self.queries_of(rows),
            keys,
            values,
            rows.seen,
            self.scale,
            window=self.case.window,
            softcap=self.case.softcap,
            sinks=None if self.sinks is None else self.sinks[rows.heads],
        )
