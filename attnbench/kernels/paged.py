"""Attention over one pool of pages: inputs, outputs and reference for every kernel that uses it."""

from typing import TYPE_CHECKING

from attnbench.kernels.base import Setting
from attnbench.kernels.groups import Keys
from attnbench.kernels.heads import HeadsPrepared
from attnbench.kernels.inputs import (
    cached,
    clamped,
    digest_of,
    least_pages,
    normal,
    page_tables,
    raw,
    redraw,
    seeded,
    spoil,
    torch_dtype,
)
from attnbench.kernels.outputs import Plain, empty_output
from attnbench.kernels.rows import Rows
from attnbench.kernels.tolerance import Tolerance, attention
from attnbench.specs.case import Case, Value

if TYPE_CHECKING:
    import torch

DEFAULT_BLOCK_SIZE = 16
STEP_PAGES = 4096  # quantised per step

# The scales of fp8 queries, keys and values: value = stored * scale. Unequal, so that a mix-up is
# wrong. Those of keys and values are no powers of two, so that a scale read as its exponent alone
# is too; of three bits, so that bf16 holds what is dequantised, and quantising that changes
# nothing. That of queries is one, as XQA rounds them to e4m3 itself, by a scale of 1. e4m3 keeps
# its precision from a hundredth to 448, so their size is free, within limits: normal values must
# not saturate, and FlashInfer's fa3 masks scores by -5e4 before it multiplies them by the scales,
# which for smaller ones no longer hides what a query must not see.
QUERY_SCALE, KEY_SCALE, VALUE_SCALE = 1 / 4, 1.25 / 8, 1.75 / 8


class PagedPrepared(HeadsPrepared):
    """A case whose KV cache is one pool; a subclass sets `calls`.

    `kv` in memory order: NHD is [pages, 2, block, kv heads, head dim], HND [pages, 2, kv heads,
    block, head dim]; keys first. `queries` is [sets, tokens, heads, head dim]; `written` holds the
    output of each set.
    """

    resolved: dict[str, Value]

    def __init__(self, case: Case, setting: Setting, *, layout: str, nan_tails: bool) -> None:
        super().__init__(case, setting, case.block_size or DEFAULT_BLOCK_SIZE)
        self.layout, sets = case.layout or layout, setting.sets
        generator, self.dtype = seeded(setting.device, setting.seed), torch_dtype(case.dtype)
        least = least_pages(case, self.block_size)
        self.tables = page_tables(
            case.batch, self.block_size, sets, generator, case.page_order, least
        )
        self.kv = self._pool(generator)
        spoil(self.kv.permute(self._order), self.tables, case.batch, nan_tails=nan_tails)
        ends = (sets, case.batch.num_tokens, self.shape.num_q_heads, self.shape.head_dim)
        self.queries = self._queries(ends, generator)
        # The factor that turns a stored query into its value.
        self.query_scale = QUERY_SCALE if _is_fp8(self.queries) else 1.0
        self.lay_needles(sets, setting.seed, large_tails=not nan_tails)
        output = case.dtype if case.output_dtype == "auto" else case.output_dtype
        self.written = [empty_output(output, ends[1:], setting.device) for _ in range(sets)]
        self.tolerance = _tolerance(case)
        self.touched_bytes = self.tables.pages_a_set * self.kv[0].nbytes
        self.touched_bytes += self.queries[0].nbytes + self.written[0].nbytes
        self.resolved = {
            "block_size": self.block_size,
            "layout": self.layout,
            "page_tails": "NaN" if nan_tails else "large",
        }

    @property
    def key_scale(self) -> float:
        """The factor that turns a stored key into its value."""
        return KEY_SCALE if _is_fp8(self.kv) else 1.0

    @property
    def value_scale(self) -> float:
        """The factor that turns a stored V element into its value."""
        return VALUE_SCALE if _is_fp8(self.kv) else 1.0

    def plain(self, index: int) -> "torch.Tensor":
        """The output of a set as one tensor [tokens, heads, head dim]; any dtype but nvfp4."""
        output = self.written[index]
        assert isinstance(output, Plain)
        return output.tensor

    def renew(self, seed: int) -> None:
        redraw(self.queries, self.dtype, seed, self.query_scale)

    def digest(self) -> "torch.Tensor":
        return digest_of(self.kv, self.queries, self.tables.tables)

    def poison(self, index: int) -> None:
        self.written[index].poison()

    def output(self, index: int) -> "torch.Tensor":
        return self.written[index].rows()

    @property
    def _order(self) -> tuple[int, ...]:
        """The permutation of `kv` to [pages, block, 2, kv heads, head dim]."""
        return (0, 2, 1, 3, 4) if self.layout == "NHD" else (0, 3, 1, 2, 4)

    def _pool(self, generator: "torch.Generator") -> "torch.Tensor":
        """Pages of random data, quantised in steps, as a pool may take most of the memory."""
        import torch

        case, shape = self.case, self.shape
        page: tuple[int, ...] = (self.block_size, shape.num_kv_heads, shape.head_dim)
        if self.layout == "HND":
            page = (shape.num_kv_heads, self.block_size, shape.head_dim)
        sizes = (self.tables.num_pages, 2, *page)
        if case.kv_cache_dtype == "auto":
            return cached(sizes, self.dtype, generator, case.kv_data)
        pool = torch.empty(sizes, dtype=torch_dtype(case.kv_cache_dtype), device=self.device)
        scales = torch.tensor([KEY_SCALE, VALUE_SCALE], device=self.device).view(2, 1, 1, 1)
        for part in pool.split(STEP_PAGES):
            part.copy_(cached(tuple(part.shape), self.dtype, generator, case.kv_data) / scales)
        return pool

    def _queries(
        self, sizes: tuple[int, int, int, int], generator: "torch.Generator"
    ) -> "torch.Tensor":
        import torch

        if self.case.query_dtype == "auto":
            return normal(sizes, self.dtype, generator)
        dtype = torch_dtype(self.case.query_dtype)
        queries = torch.empty(sizes, dtype=dtype, device=self.device)
        for of_set in queries:
            of_set.copy_(normal(tuple(of_set.shape), self.dtype, generator) / QUERY_SCALE)
        return queries

    def keys_at(self, at: Keys) -> "torch.Tensor":
        keys = raw(self.kv).permute(self._order)[*self.tables.at(at), 0]
        return keys.view(self.kv.dtype).float() * self.key_scale

    def put_keys(self, at: Keys, keys: "torch.Tensor") -> None:
        stored = raw(clamped(keys / self.key_scale, self.kv.dtype))
        raw(self.kv).permute(self._order)[*self.tables.at(at), 0] = stored

    def queries_of(self, rows: Rows) -> "torch.Tensor":
        query = raw(self.queries)[rows.sets_of_rows, rows.tokens, rows.heads]
        return query.view(self.queries.dtype).float() * self.query_scale

    def gathered(self, rows: Rows, kv_heads: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        table = self.tables.of_each(rows.sets, rows.group, rows.requests)
        pool = raw(self.kv).permute(self._order)
        kv = pool[table, :, :, kv_heads[:, None]].flatten(1, 2)  # [n, pages * block, 2, d]
        kv = kv[:, : rows.group.kv_len].contiguous().view(self.kv.dtype).float()
        return kv[:, :, 0] * self.key_scale, kv[:, :, 1] * self.value_scale


def _is_fp8(stored: "torch.Tensor") -> bool:
    return bool(stored.dtype.itemsize == 1)


def _tolerance(case: Case) -> Tolerance:
    """Kernels that take fp8 queries round the weights to fp8 too, to multiply them by V."""
    return attention(
        case.dtype,
        weights=None if case.query_dtype == "auto" else "fp8",
        output=None if case.output_dtype == "auto" else case.output_dtype,
    )
