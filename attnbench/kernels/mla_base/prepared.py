"""Inputs, outputs and fp32 reference of every MLA kernel, on either path."""

from math import gcd
from typing import TYPE_CHECKING

from attnbench.kernels.base import Setting
from attnbench.kernels.groups import Group
from attnbench.kernels.inputs import (
    cached,
    digest_of,
    least_pages,
    normal,
    page_tables,
    redraw,
    seeded,
    torch_dtype,
)
from attnbench.kernels.mla_base.pool import LatentPool
from attnbench.kernels.mla_base.projections import draw_weights
from attnbench.kernels.mla_base.reference import LatentReference
from attnbench.kernels.mla_base.topk import NO_KEY, topk_indices
from attnbench.kernels.tolerance import BY_DTYPE
from attnbench.specs.case import Case, Value
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    import torch

TOGETHER = 16  # heads of a token that are compared at once, where all share one latent key


class MlaPrepared(LatentReference):
    """The first `num_decode` requests take the decode path, the others the prefill path.

    A decode at scope kernel has absorbed queries [tokens, heads, latent] and outputs [tokens,
    heads, rank]; everything else has ordinary queries [tokens, heads, qk] and outputs [tokens,
    heads, v]. `weights` [sets, heads, nope + v, rank] are those of kv_b_proj; at scope kernel all
    sets share one.
    `new_latents` [sets, tokens, latent] are the batch's own tokens before caching; at scope layer a
    call writes them to `slots`, int64 [sets, tokens]. Behind decodes may stand `padding` tokens
    that belong to no request; nothing looks at their outputs. A subclass sets `calls`.
    """

    resolved: dict[str, Value]

    def __init__(
        self,
        case: Case,
        setting: Setting,
        num_decode: int,
        block_size: int,
        *,
        nan_tails: bool = True,
        padding: int = 0,
    ) -> None:
        assert isinstance(case.shape, MlaShape)
        self.case, self.shape, self.padding = case, case.shape, padding
        absorbed = case.scope == "kernel" and num_decode == len(case.batch)
        heads = self.shape.num_q_heads
        blocks = heads // gcd(heads, TOGETHER) if absorbed else heads
        super().__init__(case.batch, heads, block_size, blocks)
        self.scale, self.layer = self.shape.qk_head_dim**-0.5, case.scope == "layer"
        self.device, self.key_dim = setting.device, self.shape.latent_dim
        self.num_decode = num_decode
        self.decode_tokens = sum(r.q_len for r in case.batch.requests[:num_decode])
        generator, self.dtype = seeded(setting.device, setting.seed), torch_dtype(case.dtype)
        least = least_pages(case, block_size)
        self.tables = page_tables(
            case.batch, block_size, setting.sets, generator, case.page_order, least
        )
        self._fill_pool(generator, nan_tails=nan_tails)
        self._fill_queries(setting.sets, generator)
        layers = setting.sets if self.layer else 1
        self.weights = draw_weights(self.shape, layers, self.dtype, generator)
        self.elements_beside = self.weights[0, 0].numel()
        self.topk = self._selection(setting.sets, generator)
        large = not nan_tails and case.kv_cache_dtype != "fp8_ds_mla"
        self.lay_needles(setting.sets, setting.seed, large_tails=large)
        self.fp8_queries = False
        self.tolerance = BY_DTYPE[case.dtype]
        self.resolved = {"block_size": block_size, "page_tails": "NaN" if nan_tails else "large"}
        self.touched_bytes = self._touched()

    def _fill_pool(self, generator: "torch.Generator", *, nan_tails: bool) -> None:
        """Make the cache, with the batch's own tokens in their slots."""
        self.pool = LatentPool.filled(self.case, self.tables, generator, nan_tails=nan_tails)
        self.slots = self.pool.new_slots()
        latents = (*self.slots.shape, self.shape.latent_dim)
        self.new_latents = cached(latents, self.dtype, generator, self.case.kv_data)
        self.pool.write(self.slots, self.new_latents)

    def _selection(self, sets: int, generator: "torch.Generator") -> "torch.Tensor | None":
        """The keys that each token attends to, as drawn by `topk_indices`; None if dense."""
        case = self.case
        if case.index_topk is None:
            return None
        from torch.nn.functional import pad

        found = topk_indices(case.batch, sets, case.index_topk, case.topk_pattern, generator)
        return pad(found, (0, 0, 0, self.padding), value=NO_KEY)

    def _fill_queries(self, sets: int, generator: "torch.Generator") -> None:
        """Make queries and outputs by path; at scope layer both paths are parts of one tensor."""
        import torch

        shape, heads = self.shape, self.shape.num_q_heads
        decodes = self.decode_tokens + self.padding
        prefills = self.batch.num_tokens - self.decode_tokens
        if self.layer:
            ends = (sets, decodes + prefills, heads)
            self.queries = normal((*ends, shape.qk_head_dim), self.dtype, generator)
            self.whole_outputs = self._poisoned((*ends, shape.v_head_dim))
            cut = [decodes, prefills]
            self.decode_queries, self.prefill_queries = self.queries.split(cut, dim=1)
            outputs = self.whole_outputs.split(cut, dim=1)
        else:
            decode, prefill = (sets, decodes, heads), (sets, prefills, heads)
            self.decode_queries = normal((*decode, shape.latent_dim), self.dtype, generator)
            self.prefill_queries = normal((*prefill, shape.qk_head_dim), self.dtype, generator)
            outputs = (
                self._poisoned((*decode, shape.kv_lora_rank)),
                self._poisoned((*prefill, shape.v_head_dim)),
            )
        self.decode_outputs, self.prefill_outputs = map(list[torch.Tensor], outputs)

    def _poisoned(self, shape: tuple[int, ...]) -> "torch.Tensor":
        import torch

        return torch.full(shape, float("nan"), dtype=self.dtype, device=self.device)

    def take_fp8_queries(self) -> None:
        """Use queries in e4m3 at scale 1, in the reference too."""
        import torch

        self.fp8_queries = True
        if not self.layer:
            self.decode_queries = self.decode_queries.to(torch.float8_e4m3fn)

    def cached_slots(self, index: int, group: Group) -> "torch.Tensor":
        """The slots of all tokens of a group's requests: int64 [count, kv_len]."""
        import torch

        positions = torch.arange(group.kv_len, device=self.device).expand(group.count, -1)
        return self.pool.slots(self.tables.of(index, group), positions)

    def w_uk(self, index: int) -> "torch.Tensor":
        """[heads, nope, rank]."""
        return self.weights[index % len(self.weights), :, : self.shape.qk_nope_head_dim]

    def w_uv(self, index: int) -> "torch.Tensor":
        """[heads, v, rank]."""
        return self.weights[index % len(self.weights), :, self.shape.qk_nope_head_dim :]

    def write_latents(self, index: int) -> None:
        """Write the new tokens of set `index` to the cache, by PyTorch."""
        self.pool.write(self.slots[index], self.new_latents[index])

    def renew(self, seed: int) -> None:
        """New queries, and at scope layer new tokens; at scope kernel nothing writes those."""
        for at, queries in enumerate((self.decode_queries, self.prefill_queries)):
            redraw(queries, self.dtype, seed + at)
        if self.layer and self.case.kv_data != "zeros":
            redraw(self.new_latents, self.dtype, seed + 2)
            self.plant(new_alone=True)

    def digest(self) -> "torch.Tensor":
        """At scope layer without the slots of the new tokens, which calls write."""
        queries = self.decode_queries, self.prefill_queries
        others = self.weights, self.tables.tables, self.topk, self.new_latents
        found = digest_of(self.pool.stored, *queries, *others)
        if self.layer:
            found[0] -= digest_of(self.pool.stored.flatten(0, 1)[self.slots.flatten()])[0]
        return found

    def poison(self, index: int) -> None:
        """At scope layer also the slots of the new tokens, which the call has to write."""
        import torch

        if self.layer:
            self.pool.poison(self.slots[index])
        for outputs in (self.decode_outputs, self.prefill_outputs):
            outputs[index].fill_(float("nan"))
            torch.full_like(outputs[index], float("nan"))  # memory the next call may get

    def damage(self, index: int) -> str | None:
        if self.pool.holds(self.slots[index], self.new_latents[index]):
            return None
        return "the slots of the new tokens do not hold the latents that were written"

    def output(self, index: int) -> "torch.Tensor":
        """Without padding; where paths mix at scope kernel, the narrower rows end in zeros."""
        import torch

        decodes = self.decode_outputs[index][: self.decode_tokens]
        parts = (decodes, self.prefill_outputs[index])
        return torch.cat([self.widened(part.flatten(0, 1)) for part in parts])

    def _touched(self) -> int:
        """Bytes that a call reads and writes: whole pages, or the selected rows if sparse."""
        import torch

        kv = self.tables.pages_a_set * self.pool.page_bytes
        if self.topk is not None:
            chosen = (self._chosen(self.topk[0], group) for group in self.groups)
            rows = sum(len(torch.unique(slots)) for slots in chosen)
            kv = rows * self.pool.stored.shape[-1] + self.topk[0, : self.batch.num_tokens].nbytes
        decodes = slice(self.decode_tokens)
        queries = self.decode_queries[0][decodes].nbytes + self.prefill_queries[0].nbytes
        outputs = self.decode_outputs[0][decodes].nbytes + self.prefill_outputs[0].nbytes
        more = self.weights[0].nbytes + self.new_latents[0].nbytes if self.layer else 0
        return int(kv + queries + outputs + more)

    def _chosen(self, topk: "torch.Tensor", group: Group) -> "torch.Tensor":
        """The slots of set 0 that a group's tokens select, without the filling: int64 [n]."""
        return self.selected_slots(0, group)[topk[group.tokens] >= 0]

    def selected_slots(self, index: int, group: Group) -> "torch.Tensor":
        """The slots that a group's tokens select, int64 [count * q_len, topk].

        A token that selects fewer is filled up with its request's first slot.
        """
        assert self.topk is not None
        table = self.tables.of(index, group).repeat_interleave(group.q_len, dim=0)
        return self.pool.slots(table, self.topk[index, group.tokens].long().clamp_min(0))
