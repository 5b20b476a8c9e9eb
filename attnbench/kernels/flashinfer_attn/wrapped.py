"""FlashInfer's BatchDecode and BatchPrefill wrappers over a paged pool, as vLLM calls them.

But plans are for the batch's own lengths, as outside graphs. In a graph of vLLM's FLASHINFER a
decode is planned with `use_cuda_graph`, which always splits KV and merges (scheduler.cuh,
`PrefillBinarySearchKVChunkSize`), as any later lengths must fit.

Each working set has its own wrappers and plans, since a plan holds the set's page indices. The sets
share the workspaces: a plan writes only what depends on the lengths, which are the same in all
sets, and calls follow one another on one stream. Decodes and prefills differ in lengths, so each
has its own integer workspace.

The fa2 and fa3 kernels load behind the last token of a request with a predicate that yields zeros
(prefill.cuh `page_produce_kv`, decode.cuh `pred_load`, hopper/sparse_mainloop.cuh
`cp_async_zfill`; fa2 does not zero keys but masks them after the product), so they tolerate NaN in
the tail of a page.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.backend import FlashInferBackend
from attnbench.kernels.flashinfer_attn.requests import PagedRequests
from attnbench.kernels.paged import PagedPrepared
from attnbench.kernels.reference import rotating
from attnbench.kernels.tolerance import attention
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, Layout
from attnbench.specs.shape import AttnShape

MIB = 2**20
TILE_ROWS = 128  # most rows a block computes: queries times the query heads of a KV head


class WrappedBackend(FlashInferBackend):
    """One of FlashInfer's own kernels; prefills are the requests behind the decodes."""

    default_layout: ClassVar[Layout] = "NHD"

    def prepare(self, case: Case, setting: Setting) -> "WrappedPrepared":
        decodes = self.num_decode(case)
        return WrappedPrepared(case, setting, self.kernels, decodes, self.default_layout)

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return sum(workspaces(case, machine.sm_count or 0))


@dataclass(frozen=True, slots=True)
class Launch:
    """The part of a call that one wrapper runs."""

    wrapper: Any
    tokens: slice
    plan: Callable[[], object]


class WrappedPrepared(PagedPrepared):
    """The first `num_decode` requests on the decode wrapper, the others on the prefill wrapper."""

    def __init__(
        self, case: Case, setting: Setting, kernels: str, num_decode: int, layout: str
    ) -> None:
        import torch

        super().__init__(case, setting, layout=layout, nan_tails=True)
        self.kernels = kernels
        self.scales, self.scale_keywords = self._scales()
        if case.query_dtype == "auto" and case.kv_cache_dtype != "auto":
            self.tolerance = attention(case.dtype, more=1)  # outputs times the values' scale
        sms = torch.cuda.get_device_properties(setting.device).multi_processor_count
        self.floats, self.decode_ints, self.prefill_ints = (
            torch.zeros(size, dtype=torch.uint8, device=setting.device)
            for size in workspaces(case, sms)
        )
        self.launches = [self._launches(index, num_decode) for index in range(setting.sets)]
        for launches in self.launches:
            _plan(launches)
        self.plan = partial(_plan, self.launches[0])
        self.calls = rotating(self._launch, setting.sets)
        if num_decode:
            self.resolved["decode"] = f"BatchDecode, {kernels}, tensor cores"
        if num_decode < len(case.batch):
            self.resolved["prefill"] = f"BatchPrefill, {kernels}"

    def _scales(self) -> tuple[tuple[float, ...], dict[str, float]]:
        """The scales as arguments of `run`: all three for fp8 queries, else those of the cache."""
        if self.case.query_dtype == "auto":
            return (), {"k_scale": self.key_scale, "v_scale": self.value_scale}
        return (self.query_scale, self.key_scale, self.value_scale), {}

    def _launches(self, index: int, num_decode: int) -> list[Launch]:
        total, found = len(self.batch), []
        if num_decode:
            requests = PagedRequests.of(self.batch, 0, num_decode, self.block_size)
            found.append(self._decode(index, requests))
        if num_decode < total:
            requests = PagedRequests.of(self.batch, num_decode, total, self.block_size)
            found.append(self._prefill(index, requests))
        return found

    def _decode(self, index: int, requests: PagedRequests) -> Launch:
        """With tensor cores as in vLLM: the query heads of one KV head are rows of one product."""
        from flashinfer import BatchDecodeWithPagedKVCacheWrapper

        wrapper = BatchDecodeWithPagedKVCacheWrapper(
            self.floats, self.layout, use_tensor_cores=True, backend=self.kernels
        )
        wrapper.reset_workspace_buffer(self.floats, self.decode_ints)
        plan = partial(
            wrapper.plan,
            requests.kv_indptr,
            requests.page_indices(self.tables, index),
            requests.last_page_len,
            head_dim=self.shape.head_dim,
            **self._common(),
        )
        return Launch(wrapper, requests.tokens, plan)

    def _prefill(self, index: int, requests: PagedRequests) -> Launch:
        from flashinfer import BatchPrefillWithPagedKVCacheWrapper

        wrapper = BatchPrefillWithPagedKVCacheWrapper(
            self.floats, self.layout, backend=self.kernels
        )
        wrapper.reset_workspace_buffer(self.floats, self.prefill_ints)
        plan = partial(
            wrapper.plan,
            requests.qo_indptr,
            requests.kv_indptr,
            requests.page_indices(self.tables, index),
            requests.last_page_len,
            head_dim_qk=self.shape.head_dim,
            causal=True,
            **self._common(),
        )
        return Launch(wrapper, requests.tokens, plan)

    def _common(self) -> dict[str, Any]:
        """Arguments of both plans; FlashInfer's window does not count the token itself."""
        return {
            "num_qo_heads": self.shape.num_q_heads,
            "num_kv_heads": self.shape.num_kv_heads,
            "page_size": self.block_size,
            "sm_scale": self.scale,
            "window_left": -1 if self.case.window is None else self.case.window - 1,
            "logits_soft_cap": self.case.softcap,
            "q_data_type": self.queries.dtype,
            "kv_data_type": self.kv.dtype,
            "o_data_type": self.plain(0).dtype,
        }

    def _launch(self, index: int) -> None:
        for launch in self.launches[index]:
            query, out = self.queries[index, launch.tokens], self.plain(index)[launch.tokens]
            launch.wrapper.run(query, self.kv, *self.scales, **self.scale_keywords, out=out)


def _plan(launches: list[Launch]) -> None:
    for launch in launches:
        launch.plan()


def workspaces(case: Case, sm_count: int) -> tuple[int, int, int]:
    """Bytes for floats, for the integers of decodes and for those of prefills.

    As many as the plans can need (scheduler.cuh), and at least FlashInfer's own sizes. Floats:
    where KV is split, each block, two per SM, keeps an fp32 output tile and its log-sum-exp for
    each query head of a KV head. Integers: in fa3, seven arrays per head.
    """
    shape = case.shape
    assert isinstance(shape, AttnShape)
    ratio = shape.num_q_heads // shape.num_kv_heads
    tiles = ratio * 2 * sm_count * TILE_ROWS * (shape.head_dim + 1) * 4
    ints = max(8 * MIB, 32 * 4096 * shape.num_q_heads)
    return max(128 * MIB, tiles + MIB), ints, ints
