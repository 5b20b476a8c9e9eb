"""The two ways of MLA in PyTorch over one latent cache: absorbed (decode) and up-projected."""

from typing import TYPE_CHECKING

from attnbench.kernels.attn.sdpa import SdpaKernel, Views
from attnbench.kernels.base import Setting
from attnbench.kernels.groups import Group, causal_mask
from attnbench.kernels.inputs import cached, normal, page_tables, seeded, spoil, torch_dtype
from attnbench.kernels.reference import AttentionPrepared, Rows, attend, rotating
from attnbench.kernels.tolerance import BY_DTYPE
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    import torch

DEFAULT_BLOCK_SIZE = 64


class TorchMlaPrepared(AttentionPrepared):
    """The first `num_decode` requests take the absorbed path, the others the up-projected one.

    Scope kernel is the attention alone: absorbed queries [tokens, heads, latent] against the paged
    latents, or ordinary heads against ready keys and values. Scope layer starts from ordinary
    queries [tokens, heads, qk] and the paged latents, and runs the projections too.
    """

    def __init__(self, case: Case, setting: Setting, num_decode: int) -> None:
        assert isinstance(case.shape, MlaShape)
        self.shape, self.case = case.shape, case
        block_size = case.block_size or DEFAULT_BLOCK_SIZE
        super().__init__(case.batch, self.shape.num_q_heads, block_size)
        self.scale = self.shape.qk_head_dim**-0.5
        self.layer = case.scope == "layer"
        self.device, self.key_dim = setting.device, self.shape.latent_dim
        self.absorbed_kernel = not self.layer and num_decode > 0
        self.groups = [(run, run.first < num_decode) for run in self.runs]  # decodes absorbed
        self._fill(setting, block_size)
        self.prefill_kernels = {
            group: SdpaKernel(group, None, self._heads(0, group))
            for group, absorbed in self.groups
            if not absorbed
        }
        self.masks = {
            group: causal_mask(group.q_len, group.kv_len, setting.device)
            for group, absorbed in self.groups
            if absorbed
        }
        self.calls = rotating(self._launch, setting.sets)
        self.tolerance = BY_DTYPE[case.dtype].unfused()
        names = sorted({kernel.name for kernel in self.prefill_kernels.values()})
        self.resolved = {"block_size": block_size} | (
            {"prefill_sdpa_backend": "+".join(names)} if names else {}
        )

    def _fill(self, setting: Setting, block_size: int) -> None:
        import torch

        shape, batch, sets = self.shape, self.case.batch, setting.sets
        generator, dtype = seeded(setting.device, setting.seed), torch_dtype(self.case.dtype)
        self.tables = page_tables(batch, block_size, sets, generator, self.case.page_order)
        sizes = (self.tables.num_pages, block_size, shape.latent_dim)
        self.pool = cached(sizes, dtype, generator, self.case.kv_data)
        spoil(self.pool, self.tables, batch, nan_tails=True)
        heads, rank = shape.num_q_heads, shape.kv_lora_rank
        width = shape.latent_dim if self.absorbed_kernel else shape.qk_head_dim
        self.queries = normal((sets, batch.num_tokens, heads, width), dtype, generator)
        # Of unit variance after the projection, as trained weights roughly are.
        self.w_uk = normal((sets, heads, shape.qk_nope_head_dim, rank), dtype, generator)
        self.w_uv = normal((sets, heads, rank, shape.v_head_dim), dtype, generator)
        self.w_uk *= rank**-0.5
        self.w_uv *= rank**-0.5
        value_dim = rank if self.absorbed_kernel else shape.v_head_dim
        ends = (sets, batch.num_tokens, heads, value_dim)
        self.outputs = list(torch.full(ends, float("nan"), dtype=dtype, device=setting.device))
        ready = not self.layer and not self.absorbed_kernel
        self.ready = {
            group: [torch.stack(each) for each in zip(*self._up_projected(group), strict=True)]
            for group in (self.runs if ready else [])
        }
        self.touched_bytes = self.queries[0].nbytes + self.outputs[0].nbytes
        if ready:
            self.touched_bytes += sum(
                each[0].nbytes for keys_values in self.ready.values() for each in keys_values
            )
        else:
            self.touched_bytes += self.tables.pages_a_set * self.pool[0].nbytes
        if self.layer:
            self.touched_bytes += self.w_uk[0].nbytes + self.w_uv[0].nbytes

    def _launch(self, index: int) -> None:
        for group, absorbed in self.groups:
            if absorbed:
                self._decode(index, group)
            else:
                self._prefill(index, group)

    def _latents(self, index: int, group: Group) -> "torch.Tensor":
        """The cached tokens of a run's requests, gathered: [count, kv_len, latent]."""
        return self._gathered(self.tables.of(index, group), group)

    def _gathered(self, table: "torch.Tensor", group: Group) -> "torch.Tensor":
        return self.pool[table].flatten(1, 2)[:, : group.kv_len]

    def _query(self, index: int, group: Group) -> "torch.Tensor":
        sizes = (group.count, group.q_len, self.shape.num_q_heads, -1)
        return self.queries[index, group.tokens].view(sizes)

    def _write(self, index: int, group: Group, result: "torch.Tensor") -> None:
        """Store [count, q_len, heads, d_v]."""
        self.outputs[index][group.tokens].view(result.shape).copy_(result)

    def _decode(self, index: int, group: Group) -> None:
        """Attention in the latent space: one KV head for all query heads."""
        import torch

        shape, query = self.shape, self._query(index, group)
        if self.layer:
            nope, rope = query.split([shape.qk_nope_head_dim, shape.qk_rope_head_dim], dim=-1)
            query = torch.cat([torch.einsum("nqhd,hdc->nqhc", nope, self.w_uk[index]), rope], -1)
        latents = self._latents(index, group)
        scores = torch.einsum("nqhc,nkc->nhqk", query, latents).float() * self.scale
        if (mask := self.masks[group]) is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        weights = scores.softmax(-1).to(latents.dtype)
        result = torch.einsum("nhqk,nkc->nqhc", weights, latents[..., : shape.kv_lora_rank])
        if self.layer:
            result = torch.einsum("nqhc,hcd->nqhd", result, self.w_uv[index])
        self._write(index, group, result)

    def _prefill(self, index: int, group: Group) -> None:
        """Attention over ordinary heads, made from the latents at scope layer."""
        result = self.prefill_kernels[group](*self._heads(index, group))
        self._write(index, group, result.transpose(1, 2))

    def _heads(self, index: int, group: Group) -> Views:
        """q, k, v of a run as [count, heads, length, dim]."""
        if group in self.ready:
            keys, values = (each[index] for each in self.ready[group])
        else:
            keys, values = self._up_project(index, group)
        query = self._query(index, group).transpose(1, 2)
        return query, keys.transpose(1, 2), values.transpose(1, 2)

    def _up_projected(self, group: Group) -> "list[tuple[torch.Tensor, torch.Tensor]]":
        return [self._up_project(index, group) for index in range(len(self.queries))]

    def _up_project(self, index: int, group: Group) -> "tuple[torch.Tensor, torch.Tensor]":
        """Keys [count, kv_len, heads, qk] and values [count, kv_len, heads, v]."""
        import torch

        shape = self.shape
        latents = self._latents(index, group)
        compressed, rope = latents.split([shape.kv_lora_rank, shape.qk_rope_head_dim], dim=-1)
        nope = torch.einsum("nkc,hdc->nkhd", compressed, self.w_uk[index])
        values = torch.einsum("nkc,hcd->nkhd", compressed, self.w_uv[index])
        shared = rope.unsqueeze(2).expand(-1, -1, shape.num_q_heads, -1)
        return torch.cat([nope, shared], dim=-1), values

    def attended(self, rows: Rows) -> "torch.Tensor":
        rank, nope = self.shape.kv_lora_rank, self.shape.qk_nope_head_dim
        query = self.queries[rows.sets, rows.tokens, rows.heads]
        if rows.group in self.ready:
            ready = self.ready[rows.group]
            keys, values = (each[rows.sets, rows.requests, :, rows.heads] for each in ready)
            return attend(query, keys, values, rows.seen, self.scale)
        table = self.tables.of_each(rows.sets, rows.group, rows.requests)
        latents = self._gathered(table, rows.group).float()  # [n, kv, latent]
        if self.absorbed_kernel:
            return attend(query, latents, latents[..., :rank], rows.seen, self.scale)
        keys = latents.new_empty(*latents.shape[:2], self.shape.qk_head_dim)
        w_uk, w_uv = (each[rows.sets, rows.heads].float() for each in (self.w_uk, self.w_uv))
        keys[..., :nope] = latents[..., :rank] @ w_uk.transpose(1, 2)
        keys[..., nope:] = latents[..., rank:]
        values = latents[..., :rank] @ w_uv
        return attend(query, keys, values, rows.seen, self.scale)
