"""The two paths of MLA in PyTorch over one latent cache: absorbed (decode) and up-projected."""

from typing import TYPE_CHECKING

from attnbench.kernels.base import Setting
from attnbench.kernels.groups import Group, causal_mask
from attnbench.kernels.memory import Bytes, mask_bytes
from attnbench.kernels.mla_base.memory import head_bytes, latent_bytes
from attnbench.kernels.mla_base.prepared import MlaPrepared
from attnbench.kernels.reference import rotating
from attnbench.kernels.sdpa_kernel import SdpaKernel, Views, sdpa_mask_bytes
from attnbench.kernels.tolerance import MLA_ROUNDINGS, attention
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case

if TYPE_CHECKING:
    import torch

DEFAULT_BLOCK_SIZE = 64


class TorchMlaPrepared(MlaPrepared):
    """The first `num_decode` requests take the absorbed path, the others the up-projected one.

    Scope kernel is only the attention: absorbed queries against the paged latents, or ordinary
    heads against ready keys and values. Scope layer starts from ordinary queries, new latents and
    the paged ones; it writes the new ones to their pages and includes the projections.
    """

    def __init__(self, case: Case, setting: Setting, num_decode: int) -> None:
        block_size = case.block_size or DEFAULT_BLOCK_SIZE
        super().__init__(case, setting, num_decode, block_size)
        decodes = [group for group in self.groups if self._absorbed(group)]
        prefills = [group for group in self.groups if not self._absorbed(group)]
        self.ready: dict[Group, list[Views]] = {}
        if not self.layer:
            self.ready = {
                group: [self._heads(index, group) for index in range(setting.sets)]
                for group in prefills
            }
            self.touched_bytes += sum(_kv_bytes(views[0]) for views in self.ready.values())
        self.kernels = {group: SdpaKernel(group, None, self._heads(0, group)) for group in prefills}
        self.masks = {group: self._mask(group) for group in decodes}
        self.calls = rotating(self._launch, setting.sets)
        self.tolerance = attention(
            case.dtype,
            more=MLA_ROUNDINGS,
            scores=self.largest_score(),
            keys=case.batch.max_kv_len,
        )
        if names := sorted({kernel.name for kernel in self.kernels.values()}):
            self.resolved |= {"prefill_sdpa_backend": "+".join(names)}

    def renew(self, seed: int) -> None:
        """Also the negative of half of the latents, and for each context pages of another set.

        Unless heads were made from the latents ahead of the call.
        """
        if not self.ready:
            if (by_slot := self.pool.turn(seed + 1)) is not None:
                self.new_latents.mul_(by_slot[self.slots][..., None])
            self.tables.exchange(request.context_len for request in self.batch)
        super().renew(seed)

    def _absorbed(self, group: Group) -> bool:
        return group.first < self.num_decode

    def _mask(self, group: Group) -> "torch.Tensor | None":
        """The keys each query may see, bool [q_len, keys]; among its selected keys if sparse."""
        import torch

        if self.topk is None:
            return causal_mask(group.q_len, group.kv_len, self.device)
        seen = torch.arange(group.kv_len - group.q_len + 1, group.kv_len + 1, device=self.device)
        return torch.arange(self.topk.shape[2], device=self.device) < seen[:, None]

    def _launch(self, index: int) -> None:
        if self.layer:
            self.write_latents(index)
        for group in self.groups:
            if self._absorbed(group):
                self._decode(index, group)
            else:
                self._prefill(index, group)

    def _decode(self, index: int, group: Group) -> None:
        """Attention in the latent space: one KV head for all query heads."""
        import torch

        query = self.decode_queries[index, group.tokens].unflatten(0, (group.count, group.q_len))
        if self.layer:
            sizes = [self.shape.qk_nope_head_dim, self.shape.qk_rope_head_dim]
            nope, rope = query.split(sizes, dim=-1)
            absorbed = torch.einsum("nqhd,hdc->nqhc", nope, self.w_uk(index))
            query = torch.cat([absorbed, rope], dim=-1)
        latents, each = self._cached(index, group), "q" if self.topk is not None else ""
        scores = torch.einsum(f"nqhc,n{each}kc->nhqk", query, latents).float() * self.scale
        if (mask := self.masks[group]) is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        weights = scores.softmax(-1).to(self.dtype)
        values = latents[..., : self.shape.kv_lora_rank]
        result = torch.einsum(f"nhqk,n{each}kc->nqhc", weights, values)
        if self.layer:
            result = torch.einsum("nqhc,hdc->nqhd", result, self.w_uv(index))
        self.decode_outputs[index][group.tokens].copy_(result.flatten(0, 1))

    def _cached(self, index: int, group: Group) -> "torch.Tensor":
        """The keys of a group's requests, [count, kv_len, latent].

        If sparse, those that each token selects: [count, q_len, topk, latent].
        """
        if self.topk is None:
            slots = self.cached_slots(index, group)
        else:
            slots = self.selected_slots(index, group).unflatten(0, (group.count, group.q_len))
        return self.pool.read(slots, self.dtype)

    def _prefill(self, index: int, group: Group) -> None:
        """Attention over ordinary heads, made from the latents at scope layer."""
        result = self.kernels[group](*self._heads(index, group)).transpose(1, 2).flatten(0, 1)
        self.prefill_outputs[index][self._among_prefills(group)].copy_(result)

    def _among_prefills(self, group: Group) -> slice:
        start, stop = group.tokens.start, group.tokens.stop
        return slice(start - self.decode_tokens, stop - self.decode_tokens)

    def _heads(self, index: int, group: Group) -> Views:
        """q, k, v of a group as [count, heads, length, dim]."""
        import torch

        if group in self.ready:
            return self.ready[group][index]
        sizes = (group.count, group.q_len)
        query = self.prefill_queries[index, self._among_prefills(group)].unflatten(0, sizes)
        cut = [self.shape.kv_lora_rank, self.shape.qk_rope_head_dim]
        latents = self.pool.read(self.cached_slots(index, group), self.dtype)
        fresh = self.new_latents[index, group.tokens].unflatten(0, sizes)
        latents[:, group.kv_len - group.q_len :] = fresh
        compressed, rope = latents.split(cut, dim=-1)
        nope = torch.einsum("nkc,hdc->nhkd", compressed, self.w_uk(index))
        values = torch.einsum("nkc,hdc->nhkd", compressed, self.w_uv(index))
        shared = rope.unsqueeze(1).expand(-1, self.shape.num_q_heads, -1, -1)
        return query.transpose(1, 2), torch.cat([nope, shared], dim=-1), values


def torch_bytes(case: Case, num_decode: int, sets: int, machine: Machine) -> Bytes:
    """Of the tensors that TorchMlaPrepared holds for so many sets."""
    decodes, prefills = case.batch.requests[:num_decode], case.batch.requests[num_decode:]
    ready = 0 if case.scope == "layer" else sets * head_bytes(prefills, case, rope=True)
    masks = sdpa_mask_bytes(prefills, machine)
    if case.index_topk is None:
        masks += mask_bytes(request for request in decodes if request.q_len > 1)
    else:
        masks += sum(request.q_len * case.index_topk for request in set(decodes))
    held = latent_bytes(case, num_decode, sets, case.block_size or DEFAULT_BLOCK_SIZE)
    return held | {"ready heads": ready, "masks": masks}


def _kv_bytes(views: Views) -> int:
    _, keys, values = views
    return int(keys.nbytes + values.nbytes)
