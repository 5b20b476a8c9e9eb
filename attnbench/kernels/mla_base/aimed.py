"""Needles among latents: what is read and stored by place, on either path of MLA.

A latent is key and value of all heads. Needles differ from other latents in the RoPE part, which no
projection touches; the rest of them makes their values.
"""

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.kernels.groups import Group, Keys
from attnbench.kernels.inputs import PageTables, clamped, raw
from attnbench.kernels.mla_base.pool import LatentPool
from attnbench.kernels.needles import Needles, OwnKeys, random_signs
from attnbench.kernels.reference import AttentionPrepared
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    import torch


SMALLER = 0.5  # needles' values where queries meet up-projected keys; those of others are 1


class AimedLatents(AttentionPrepared):
    """Where queries are ordinary, they meet up-projected keys [n, heads, qk], else latents."""

    shape: MlaShape
    layer: bool
    num_decode: int
    decode_tokens: int
    tables: PageTables
    pool: LatentPool
    dtype: "torch.dtype"
    new_latents: "torch.Tensor"
    weights: "torch.Tensor"
    topk: "torch.Tensor | None"
    decode_queries: "torch.Tensor"
    prefill_queries: "torch.Tensor"

    def keys_at(self, at: Keys) -> "torch.Tensor":
        """Latents, those of new tokens as they were before caching."""
        import torch

        pages, offsets = self.tables.at(at)
        held = self.pool.read(pages * self.block_size + offsets, torch.float32)
        tokens = at.tokens.clamp(0, self.new_latents.shape[1] - 1)
        new = self.new_latents[at.sets, tokens].float()
        return new.where(at.fresh.unsqueeze(-1), held).unsqueeze(-2)

    def put_keys(self, at: Keys, keys: "torch.Tensor") -> None:
        pages, offsets = self.tables.at(at)
        latents = clamped(keys.squeeze(-2), self.dtype)
        self.pool.write(pages * self.block_size + offsets, latents)
        fresh = at.fresh & (at.positions <= at.last)
        self.new_latents[at.sets[fresh], at.tokens[fresh]] = latents[fresh]

    def decodes(self, group: Group) -> bool:
        """Whether the group takes the decode path."""
        return group.first < self.num_decode

    def latent_queries(self, group: Group) -> bool:
        """Whether the group's queries are in the latent space."""
        return self.decodes(group) and not self.layer

    def _selects(self, group: Group) -> bool:
        """Whether the group's tokens see fewer keys than there are; a prefill is dense."""
        most = self.case.index_topk
        return most is not None and most < group.kv_len and self.decodes(group)

    def queries_of(
        self, group: Group, tokens: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """The tensor [sets, tokens, heads, d] that holds a group's queries, and tokens in it."""
        if self.decodes(group):
            return self.decode_queries, tokens
        return self.prefill_queries, tokens - self.decode_tokens

    def queries_at(self, at: Keys) -> "torch.Tensor":
        held, tokens = self.queries_of(at.group, at.tokens)
        return raw(held)[at.sets, tokens].view(held.dtype).float()

    def put_queries(self, at: Keys, queries: "torch.Tensor") -> None:
        held, tokens = self.queries_of(at.group, at.tokens)
        raw(held)[at.sets, tokens] = raw(queries.to(held.dtype))

    def needles(self, generator: "torch.Generator") -> Needles:
        """Of latents, with signs in the RoPE part alone."""
        from torch.nn.functional import pad

        rest = 1.0 if all(map(self.latent_queries, self.groups)) else SMALLER
        signs = random_signs(1, self.shape.qk_rope_head_dim, generator)
        return Needles(pad(signs, (self.shape.kv_lora_rank, 0)), self.scale, rest, rest)

    def met(self, needles: Needles, group: Group) -> Needles:
        from torch.nn.functional import pad

        if self.latent_queries(group):
            return needles
        rope = needles.signs[..., self.shape.kv_lora_rank :]
        signs = pad(rope, (self.shape.qk_nope_head_dim, 0)).expand(2, self.num_heads, -1)
        return replace(needles, signs=signs)

    def met_at(self, at: Keys) -> "torch.Tensor":
        latents = self.keys_at(at)
        if self.latent_queries(at.group):
            return latents
        import torch

        rank, nope = self.shape.kv_lora_rank, self.shape.qk_nope_head_dim
        rope = latents[..., rank:].expand(-1, self.num_heads, -1)
        keys = latents.new_empty((len(latents), self.num_heads, nope))
        layers = at.sets % len(self.weights)
        for layer in layers.unique().tolist():
            mine, w_uk = layers == layer, self.weights[layer, :, :nope].float()
            keys[mine] = torch.einsum("nr,hdr->nhd", latents[mine, 0, :rank], w_uk)
        return torch.cat([keys, rope], dim=-1)

    def visible(self, at: Keys) -> "torch.Tensor":
        seen, most = super().visible(at), self.case.index_topk
        return seen.clamp(max=most) if self._selects(at.group) else seen

    def own_keys(self, at: Keys) -> list[OwnKeys]:
        """Of the keys that a token selects, the first, the middle and the last.

        For queries in the latent space needles too, since the rest of each scores at random. Other
        queries are too many: they meet needles whose rest is smaller.
        """
        own = self._selected(at) if self._selects(at.group) else super().own_keys(at)
        if not self.latent_queries(at.group):
            return own
        count = self.places.counts[at.group.first]
        places = self.places.positions[at.sets, at.requests, :count].unbind(1)
        return [*own, *(OwnKeys(self.met_at(at.beside(each)), needle_at=each) for each in places)]

    def kind(self, group: Group) -> Hashable:
        latent = self.latent_queries(group)
        count = self.places.counts[group.first] if latent else None
        return super().kind(group), self.decodes(group), self._selects(group), count

    def _selected(self, at: Keys) -> list[OwnKeys]:
        assert self.topk is not None
        selected = self.topk[at.sets, at.tokens].long()
        last = (selected >= 0).sum(1) - 1
        columns = [last.new_zeros(len(last)), last // 2, last]
        places = [selected.gather(1, each[:, None]).squeeze(1) for each in columns]
        return [OwnKeys(self.met_at(at.beside(place))) for place in places]
