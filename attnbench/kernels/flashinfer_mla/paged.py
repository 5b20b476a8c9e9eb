"""FlashInfer's BatchMLAPagedAttentionWrapper over the paged latents: every request decodes.

A plan depends only on the lengths, which all working sets share: one wrapper is planned, and each
set has a copy of it with its own page indices. The kernels load behind the last token with a
predicate that yields zeros (mla.cuh and mla_hopper.cuh, kFillZero), so page tails hold NaN.
"""

from copy import copy
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_mla.append import AppendingPrepared
from attnbench.kernels.flashinfer_mla.backend import WORKSPACE, FlashInferMlaBackend
from attnbench.kernels.inputs import UNUSED_ENTRY
from attnbench.kernels.mla_base.projections import absorb, project_values
from attnbench.kernels.reference import rotating
from attnbench.specs.case import Case

if TYPE_CHECKING:
    import torch


class PagedMlaBackend(FlashInferMlaBackend):
    """All requests, long ones too, in the latent space."""

    path: ClassVar = "decode"
    dims: ClassVar = {"kv_lora_rank": (512,), "qk_rope_head_dim": (64,)}

    def num_decode(self, case: Case) -> int:
        return len(case.batch)

    def prepare(self, case: Case, setting: Setting) -> "PagedMlaPrepared":
        return PagedMlaPrepared(case, setting, self.kernels)


class PagedMlaPrepared(AppendingPrepared):
    """Scope layer adds the write and the W_UK and W_UV products around it, as vLLM's layer does."""

    def __init__(self, case: Case, setting: Setting, kernels: str) -> None:
        super().__init__(case, setting, len(case.batch))
        rank, stored = self.shape.kv_lora_rank, self.pool.stored
        self.compressed, self.rope_keys = stored[..., :rank], stored[..., rank:]
        self.plan = self._planned(kernels)
        self.plan()
        self.wrappers = [self._of_set(index) for index in range(setting.sets)]
        self.calls = rotating(self._launch, setting.sets)
        self.resolved |= {"decode": f"BatchMLAPagedAttention, {kernels}"}

    def _planned(self, kernels: str) -> "Any":
        """A wrapper, and the call that plans it for the batch's lengths and the pages of set 0."""
        import torch
        from flashinfer.mla import BatchMLAPagedAttentionWrapper

        workspace = torch.zeros(WORKSPACE, dtype=torch.uint8, device=self.device)
        self.wrapper: Any = BatchMLAPagedAttentionWrapper(workspace, backend=kernels)
        pages = [-(-request.kv_len // self.block_size) for request in self.batch]
        q_starts = _int32([0, *accumulate(request.q_len for request in self.batch)])
        page_starts = _int32([0, *accumulate(pages)])
        kv_lens = _int32([request.kv_len for request in self.batch])

        def plan() -> None:
            self.wrapper.plan(
                q_starts,
                page_starts,
                self._pages(0),
                kv_lens,
                self.num_heads,
                self.shape.kv_lora_rank,
                self.shape.qk_rope_head_dim,
                self.block_size,
                True,  # causal
                self.scale,
                self.dtype,
                self.dtype,
            )

        return plan

    def _pages(self, index: int) -> "torch.Tensor":
        """The pages of all requests in set `index`, in token order: int32."""
        table = self.tables.tables[index]
        return table[table != UNUSED_ENTRY]

    def _of_set(self, index: int) -> Any:
        runs = wrapper = copy(self.wrapper)
        if hasattr(wrapper, "_planned_backend"):  # since 0.7 it runs, with page indices of its own
            runs = wrapper._planned_backend = copy(wrapper._planned_backend)
        runs._kv_indices_buf = self._pages(index)
        return wrapper

    def _launch(self, index: int) -> None:
        rank, wrapper = self.shape.kv_lora_rank, self.wrappers[index]
        caches = (self.compressed, self.rope_keys)
        if self.append is None:
            query = self.decode_queries[index]
            parts = (query[..., :rank], query[..., rank:])
            wrapper.run(*parts, *caches, out=self.decode_outputs[index])
            return
        self.append(index)
        attended = wrapper.run(*absorb(self.queries[index], self.w_uk(index)), *caches)
        project_values(attended, self.w_uv(index), self.decode_outputs[index])


def _int32(values: list[int]) -> "torch.Tensor":
    import torch

    return torch.tensor(values, dtype=torch.int32)
