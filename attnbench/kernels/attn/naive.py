"""Unfused paged attention in PyTorch: gather the pages, then matmul, softmax, matmul."""

from typing import TYPE_CHECKING, ClassVar

from attnbench.kernels.arithmetic import softmax_with_sinks
from attnbench.kernels.base import Backend, Setting
from attnbench.kernels.groups import Group, Keys, causal_mask
from attnbench.kernels.heads import HeadsPrepared
from attnbench.kernels.inputs import (
    cached,
    clamped,
    digest_of,
    least_pages,
    normal,
    page_tables,
    redraw,
    seeded,
    signs,
    spoil,
    torch_dtype,
    turn,
)
from attnbench.kernels.memory import Bytes, mask_bytes, paged_bytes
from attnbench.kernels.needles import sink_logits
from attnbench.kernels.reference import rotating
from attnbench.kernels.rows import Rows
from attnbench.kernels.tolerance import attention
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    import torch

DEFAULT_BLOCK_SIZE = 16
# Beside a sink a short request may have a single weight below 1, whose rounded score is then the
# error of its whole row: up to 2.35 times that of many, of which 1.75 are allowed of a row's scale.
ONE_WEIGHT = 1.5


class Naive(Backend):
    """The baseline that every fused kernel should beat."""

    name: ClassVar = "naive"
    layouts: ClassVar = ("NHD", "HND")
    features: ClassVar = frozenset({"window", "softcap", "sinks"})

    def prepare(self, case: Case, setting: Setting) -> "NaivePrepared":
        return NaivePrepared(case, setting)

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        windowed = case.window or case.batch.max_kv_len
        masked = [r for r in case.batch if r.q_len > 1 or windowed < r.kv_len]
        pages = paged_bytes(case, sets, case.block_size or DEFAULT_BLOCK_SIZE)
        return pages | {"masks": mask_bytes(masked)}


class NaivePrepared(HeadsPrepared):
    """The pool is one tensor, logically [pages, block, 2, kv heads, head dim]."""

    def __init__(self, case: Case, setting: Setting) -> None:
        import torch

        block_size, layout = case.block_size or DEFAULT_BLOCK_SIZE, case.layout or "NHD"
        super().__init__(case, setting, block_size)
        shape, batch = self.shape, case.batch
        generator, dtype = seeded(setting.device, setting.seed), torch_dtype(case.dtype)
        least = least_pages(case, block_size)
        self.tables = page_tables(
            batch, block_size, setting.sets, generator, case.page_order, least
        )
        page, order = _page(block_size, shape, layout)
        pool = cached((self.tables.num_pages, *page), dtype, generator, case.kv_data)
        self.pool = pool.permute(order)
        spoil(self.pool, self.tables, batch, nan_tails=True)
        ends = (setting.sets, batch.num_tokens, shape.num_q_heads, shape.head_dim)
        self.queries = normal(ends, dtype, generator)
        self.outputs = list(torch.full_like(self.queries, float("nan")))
        self.lay_needles(setting.sets, setting.seed)
        self.sinks = sink_logits(case, dtype, generator) if case.sinks else None
        self.masks = [
            causal_mask(group.q_len, group.kv_len, setting.device, case.window)
            for group in self.groups
        ]
        self.calls = rotating(self._launch, setting.sets)
        scores = self.largest_score() * (ONE_WEIGHT if case.sinks else 1.0)
        self.tolerance = attention(case.dtype, scores=scores, keys=batch.max_kv_len)
        ends_bytes = self.queries[0].nbytes + self.outputs[0].nbytes
        self.touched_bytes = self.tables.pages_a_set * self.pool[0].nbytes + ends_bytes
        self.resolved = {"block_size": block_size, "layout": layout}

    def _launch(self, index: int) -> None:
        for group, mask in zip(self.groups, self.masks, strict=True):
            self._attend(index, group, mask)

    def _attend(self, index: int, group: Group, mask: "torch.Tensor | None") -> None:
        kv = self.pool[self.tables.of(index, group)].flatten(1, 2)  # [n, kv, 2, kv heads, d]
        kv = kv[:, : group.kv_len]
        heads = (group.count, group.q_len, self.shape.num_kv_heads, -1, self.shape.head_dim)
        query = self.queries[index, group.tokens].view(heads).permute(0, 2, 3, 1, 4)
        keys, values = kv.permute(2, 0, 3, 1, 4)  # each [n, kv heads, kv, d]
        # The query heads of one KV head are rows of one product, so no key is copied.
        scores = (query.flatten(2, 3) @ keys.transpose(-1, -2)).float() * self.scale
        if self.case.softcap is not None:
            scores = self.case.softcap * (scores / self.case.softcap).tanh()
        scores = scores.unflatten(2, query.shape[2:4])  # [n, kv heads, query heads of one, q, kv]
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        weights = softmax_with_sinks(scores, self._sinks_beside(scores))
        result = weights.to(values.dtype).flatten(2, 3) @ values
        result = result.unflatten(2, query.shape[2:4]).permute(0, 3, 1, 2, 4)
        self.outputs[index][group.tokens].view(heads).copy_(result)

    def _sinks_beside(self, scores: "torch.Tensor") -> "torch.Tensor | None":
        """A sink for each row of scores [n, kv heads, query heads of one, q, kv]."""
        if self.sinks is None:
            return None
        return self.sinks.view(1, *scores.shape[1:3], 1).expand(scores.shape[:-1])

    def renew(self, seed: int) -> None:
        """Also the negative of half of the tokens, and for each request pages of another set."""
        redraw(self.queries, self.queries.dtype, seed)
        tokens = (self.tables.num_pages, self.block_size)
        turn(self.pool, signs(tokens, self.device, seed + 1)[:, :, None, None, None])
        self.tables.exchange(request.kv_len for request in self.batch)
        self.heat()

    def digest(self) -> "torch.Tensor":
        return digest_of(self.pool, self.queries, self.tables.tables, self.sinks)

    def negate_values(self) -> bool:
        self.pool[:, :, 1].neg_()
        return True

    def keys_at(self, at: Keys) -> "torch.Tensor":
        return self.pool[*self.tables.at(at), 0].float()

    def put_keys(self, at: Keys, keys: "torch.Tensor") -> None:
        self.pool[*self.tables.at(at), 0] = clamped(keys, self.pool.dtype)

    def gathered(self, rows: Rows, kv_heads: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        table = self.tables.of_each(rows.sets, rows.group, rows.requests)
        kv = self.pool[table, :, :, kv_heads[:, None]].flatten(1, 2)  # [n, pages * block, 2, d]
        keys, values = kv[:, : rows.group.kv_len].unbind(2)
        return keys, values


def _page(
    block_size: int, shape: AttnShape, layout: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of a page in memory, and the permutation to [pages, block, 2, heads, dim]."""
    if layout == "NHD":
        return (2, block_size, shape.num_kv_heads, shape.head_dim), (0, 2, 1, 3, 4)
    return (2, shape.num_kv_heads, block_size, shape.head_dim), (0, 3, 1, 2, 4)
