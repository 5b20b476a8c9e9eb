"""The fp32 reference of MLA's output rows, in the latent space."""

from typing import TYPE_CHECKING

from attnbench.kernels.groups import Group
from attnbench.kernels.inputs import raw
from attnbench.kernels.mla_base.aimed import AimedLatents
from attnbench.kernels.rows import Rows, Sharing

if TYPE_CHECKING:
    import torch


class LatentReference(AimedLatents):
    """Rows of either path, each as wide as the wider path's."""

    scale: float
    fp8_queries: bool = False  # whether decodes compute with queries in e4m3

    def attended(self, rows: Rows) -> "torch.Tensor":
        """In the latent space; exact arithmetic would give the same over up-projected heads."""
        import torch

        rank = self.shape.kv_lora_rank
        # Of a block, only where it is of one head.
        weights = self.weights[rows.sets % len(self.weights), rows.first_heads].float()
        w_uk, w_uv = weights.split([self.shape.qk_nope_head_dim, self.shape.v_head_dim], dim=1)
        query = self._latent_query(rows, w_uk)
        latents, seen = self._latents_of(rows)
        result = self.attend(query, latents, latents[..., :rank], seen, self.scale)
        if not self.latent_queries(rows.group):
            result = torch.einsum("nvr,n...r->n...v", w_uv, result)
        return self.widened(result)

    @property
    def width(self) -> int:
        """Elements per output row, those of the wider path."""
        rank, value = self.shape.kv_lora_rank, self.shape.v_head_dim
        if self.layer or not self.decode_tokens:
            return value
        return rank if self.decode_tokens == self.batch.num_tokens else max(rank, value)

    def widened(self, rows: "torch.Tensor") -> "torch.Tensor":
        """Rows [n, d] or [n, m, d] of one path, with zeros behind them up to `width`."""
        from torch.nn.functional import pad

        if not len(rows):  # with the width of a path that no request takes
            return rows.new_empty((0, self.width))
        return pad(rows, (0, self.width - rows.shape[-1]))

    def sharing(self, group: Group) -> Sharing:
        """All heads share the latents, but absorbed queries and values need weights of each."""
        heads = self.num_heads if self.latent_queries(group) else 1
        sparse = self.topk is not None and self.decodes(group)
        return Sharing.of(group, heads, 1 if sparse else group.q_len)

    def gathers(self, group: Group) -> bool:
        """A prefill's new tokens stand at the end of its own keys."""
        return super().gathers(group) and self.decodes(group)

    def _latent_query(self, rows: Rows, w_uk: "torch.Tensor") -> "torch.Tensor":
        """The queries of these rows in the latent space, fp32 [n, latent] or [n, m, latent]."""
        import torch

        held, tokens = self.queries_of(rows.group, rows.tokens)
        query = raw(held)[rows.sets_of_rows, tokens, rows.heads].view(held.dtype).float()
        if self.latent_queries(rows.group):
            return query
        sizes = [self.shape.qk_nope_head_dim, self.shape.qk_rope_head_dim]
        nope, rope = query.split(sizes, dim=-1)
        absorbed = torch.cat([torch.einsum("n...d,ndr->n...r", nope, w_uk), rope], dim=-1)
        if self.fp8_queries and self.decodes(rows.group):
            return absorbed.to(self.dtype).to(torch.float8_e4m3fn).float()
        return absorbed

    def _latents_of(self, rows: Rows) -> "tuple[torch.Tensor, torch.Tensor]":
        """The latents these rows attend to, fp32 [n, keys, latent], and each row's number of keys.

        A prefill has its new tokens as they were before caching.
        """
        import torch

        group, table = rows.group, self.tables.of_each(rows.sets, rows.group, rows.requests)
        if self.topk is not None and self.decodes(group):  # a prefill is dense
            positions = self.topk[rows.sets, rows.first_tokens].long()
            slots = self.pool.slots(table, positions.clamp_min(0))
            return self.pool.read(slots, torch.float32), rows.beside_rows((positions >= 0).sum(1))
        positions = torch.arange(group.kv_len, device=table.device).expand(len(table), -1)
        latents = self.pool.read(self.pool.slots(table, positions), torch.float32)
        if not self.decodes(group):
            first = group.first_token + (rows.requests - group.first) * group.q_len
            tokens = first[:, None] + torch.arange(group.q_len, device=table.device)
            fresh = self.new_latents[rows.sets[:, None], tokens].float()
            latents[:, group.kv_len - group.q_len :] = fresh
        return latents, rows.seen
