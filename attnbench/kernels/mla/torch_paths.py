"""The two ways of MLA in PyTorch over one latent cache: absorbed (decode) and up-projected."""

from typing import TYPE_CHECKING

from attnbench.kernels.attn.sdpa import SdpaKernel, Views
from attnbench.kernels.base import Setting
from attnbench.kernels.groups import Group, causal_mask
from attnbench.kernels.mla_base.prepared import MlaPrepared
from attnbench.kernels.reference import rotating
from attnbench.specs.case import Case

if TYPE_CHECKING:
    import torch

DEFAULT_BLOCK_SIZE = 64


class TorchMlaPrepared(MlaPrepared):
    """The first `num_decode` requests take the absorbed path, the others the up-projected one.

    Scope kernel is the attention alone: absorbed queries against the paged latents, or ordinary
    heads against ready keys and values. Scope layer starts from ordinary queries and the paged
    latents, and runs the projections too.
    """

    def __init__(self, case: Case, setting: Setting, num_decode: int) -> None:
        block_size = case.block_size or DEFAULT_BLOCK_SIZE
        super().__init__(case, setting, num_decode, block_size)
        self.groups = [(run, run.first < num_decode) for run in self.runs]  # decodes absorbed
        prefills = [run for run, absorbed in self.groups if not absorbed]
        self.ready: dict[Group, list[Views]] = {}
        if not self.layer:
            self.ready = {
                run: [self._heads(index, run) for index in range(setting.sets)] for run in prefills
            }
            self.touched_bytes += sum(_kv_bytes(views[0]) for views in self.ready.values())
        self.kernels = {run: SdpaKernel(run, None, self._heads(0, run)) for run in prefills}
        self.masks = {run: self._mask(run) for run, absorbed in self.groups if absorbed}
        self.calls = rotating(self._launch, setting.sets)
        self.tolerance = self.tolerance.unfused()
        if names := sorted({kernel.name for kernel in self.kernels.values()}):
            self.resolved |= {"prefill_sdpa_backend": "+".join(names)}

    def _mask(self, run: Group) -> "torch.Tensor | None":
        """What a query may see, bool [q_len, keys]: of its selection, where that is sparse."""
        import torch

        if self.topk is None:
            return causal_mask(run.q_len, run.kv_len, self.device)
        seen = torch.arange(run.kv_len - run.q_len + 1, run.kv_len + 1, device=self.device)
        return torch.arange(self.topk.shape[2], device=self.device) < seen[:, None]

    def _launch(self, index: int) -> None:
        for run, absorbed in self.groups:
            if absorbed:
                self._decode(index, run)
            else:
                self._prefill(index, run)

    def _decode(self, index: int, run: Group) -> None:
        """Attention in the latent space: one KV head for all query heads."""
        import torch

        query = self.decode_queries[index, run.tokens].unflatten(0, (run.count, run.q_len))
        if self.layer:
            sizes = [self.shape.qk_nope_head_dim, self.shape.qk_rope_head_dim]
            nope, rope = query.split(sizes, dim=-1)
            absorbed = torch.einsum("nqhd,hdc->nqhc", nope, self.w_uk(index))
            query = torch.cat([absorbed, rope], dim=-1)
        latents, each = self._cached(index, run), "q" if self.topk is not None else ""
        scores = torch.einsum(f"nqhc,n{each}kc->nhqk", query, latents).float() * self.scale
        if (mask := self.masks[run]) is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        weights = scores.softmax(-1).to(self.dtype)
        values = latents[..., : self.shape.kv_lora_rank]
        result = torch.einsum(f"nhqk,n{each}kc->nqhc", weights, values)
        if self.layer:
            result = torch.einsum("nqhc,hdc->nqhd", result, self.w_uv(index))
        self.decode_outputs[index][run.tokens].copy_(result.flatten(0, 1))

    def _cached(self, index: int, run: Group) -> "torch.Tensor":
        """The keys of a run's requests [count, kv_len, latent]; if sparse those of each token.

        Then [count, q_len, topk, latent].
        """
        if self.topk is None:
            slots = self.cached_slots(index, run)
        else:
            slots = self.selected_slots(index, run).unflatten(0, (run.count, run.q_len))
        return self.pool.read(slots, self.dtype)

    def _prefill(self, index: int, run: Group) -> None:
        """Attention over ordinary heads, made from the latents at scope layer."""
        result = self.kernels[run](*self._heads(index, run)).transpose(1, 2).flatten(0, 1)
        self.prefill_outputs[index][self._among_prefills(run)].copy_(result)

    def _among_prefills(self, run: Group) -> slice:
        return slice(run.tokens.start - self.decode_tokens, run.tokens.stop - self.decode_tokens)

    def _heads(self, index: int, run: Group) -> Views:
        """q, k, v of a run as [count, heads, length, dim]."""
        import torch

        if run in self.ready:
            return self.ready[run][index]
        sizes = (run.count, run.q_len)
        query = self.prefill_queries[index, self._among_prefills(run)].unflatten(0, sizes)
        cut = [self.shape.kv_lora_rank, self.shape.qk_rope_head_dim]
        latents = self.pool.read(self.cached_slots(index, run), self.dtype)
        latents[:, run.kv_len - run.q_len :] = self.new_latents[index, run.tokens].unflatten(
            0, sizes
        )
        compressed, rope = latents.split(cut, dim=-1)
        nope = torch.einsum("nkc,hdc->nhkd", compressed, self.w_uk(index))
        values = torch.einsum("nkc,hdc->nhkd", compressed, self.w_uv(index))
        shared = rope.unsqueeze(1).expand(-1, self.shape.num_q_heads, -1, -1)
        return query.transpose(1, 2), torch.cat([nope, shared], dim=-1), values


def _kv_bytes(views: Views) -> int:
    _, keys, values = views
    return int(keys.nbytes + values.nbytes)
