"""FlashInfer's BatchPrefillWithRaggedKVCacheWrapper: every request as multi-head attention."""

from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_mla.append import AppendingPrepared
from attnbench.kernels.flashinfer_mla.backend import WORKSPACE, FlashInferMlaBackend, ints_bytes
from attnbench.kernels.mla_base.projections import up_project
from attnbench.kernels.reference import rotating
from attnbench.specs.case import Case

if TYPE_CHECKING:
    import torch


class RaggedBackend(FlashInferMlaBackend):
    """All requests, decodes too, over up-projected heads."""

    path: ClassVar = "prefill"
    dims: ClassVar = {"qk_head_dim": (64, 128, 192, 256), "v_head_dim": (64, 128, 256)}

    def num_decode(self, case: Case) -> int:
        return 0

    def prepare(self, case: Case, setting: Setting) -> "RaggedPrepared":
        return RaggedPrepared(case, setting, self.kernels)


class RaggedPrepared(AppendingPrepared):
    """Scope kernel is attention over ready keys and values of all tokens, context included.

    Scope layer writes the new latents to their pages, then gathers and up-projects all of them.
    """

    def __init__(self, case: Case, setting: Setting, kernels: str) -> None:
        super().__init__(case, setting, num_decode=0)
        self.kv_slots = [self._all_slots(index) for index in range(setting.sets)]
        self.ready: list[tuple[torch.Tensor, torch.Tensor]] = []
        if not self.layer:
            self.ready = [_contiguous(*self._heads(index)) for index in range(setting.sets)]
            self.touched_bytes = sum(each.nbytes for each in self.ready[0])
            self.touched_bytes += self.prefill_queries[0].nbytes + self.prefill_outputs[0].nbytes
        self.wrapper: Any = self._wrapper(kernels)
        self.plan = self._plan
        self._plan()
        self.calls = rotating(self._launch, setting.sets)
        self.resolved |= {"prefill": f"BatchPrefillWithRaggedKVCache, {kernels}"}

    def _all_slots(self, index: int) -> "torch.Tensor":
        """The slots of all cached tokens, in batch order: int64 [kv tokens]."""
        import torch

        return torch.cat([self.cached_slots(index, group).flatten() for group in self.groups])

    def _wrapper(self, kernels: str) -> Any:
        import torch
        from flashinfer import BatchPrefillWithRaggedKVCacheWrapper

        sizes = (WORKSPACE, ints_bytes(self.case))
        floats, ints = (torch.zeros(n, dtype=torch.uint8, device=self.device) for n in sizes)
        wrapper = BatchPrefillWithRaggedKVCacheWrapper(floats, "NHD", backend=kernels)
        wrapper.reset_workspace_buffer(floats, ints)
        return wrapper

    def _plan(self) -> None:
        """All sets have the same lengths and so share one plan."""
        self.wrapper.plan(
            _starts(request.q_len for request in self.batch),
            _starts(request.kv_len for request in self.batch),
            self.num_heads,
            self.num_heads,
            self.shape.qk_head_dim,
            head_dim_vo=self.shape.v_head_dim,
            causal=True,
            sm_scale=self.scale,
            q_data_type=self.dtype,
            kv_data_type=self.dtype,
        )

    def _heads(self, index: int) -> "tuple[torch.Tensor, torch.Tensor]":
        latents = self.pool.read(self.kv_slots[index], self.dtype)
        weights = self.weights[index % len(self.weights)]
        return up_project(latents, weights, self.shape.qk_nope_head_dim)

    def _launch(self, index: int) -> None:
        if self.append is None:
            keys, values = self.ready[index]
        else:
            self.append(index)
            keys, values = self._heads(index)
        query, out = self.prefill_queries[index], self.prefill_outputs[index]
        self.wrapper.run(query, keys, values, out=out)


def _contiguous(
    keys: "torch.Tensor", values: "torch.Tensor"
) -> "tuple[torch.Tensor, torch.Tensor]":
    return keys, values.contiguous()


def _starts(lengths: Any) -> "torch.Tensor":
    import torch

    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
