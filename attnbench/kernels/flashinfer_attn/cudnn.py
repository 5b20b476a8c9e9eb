"""cuDNN's paged attention through FlashInfer's prefill wrapper, decodes included.

cuDNN is closed source, and may read behind the last token of a page. So page tails hold large
values instead of NaN, and unused entries of a block table name an existing page.
"""

import importlib.util
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.backend import FlashInferBackend
from attnbench.kernels.flashinfer_attn.requests import PagedRequests
from attnbench.kernels.paged import PagedPrepared
from attnbench.kernels.reference import rotating
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

if TYPE_CHECKING:
    import torch

WORKSPACE_BYTES = 128 * 2**20  # FlashInfer's advice
TILE = 128  # tokens of KV it fetches at a time, even through entries behind a request's last page


class CudnnBackend(FlashInferBackend):
    """cuDNN in FlashInfer's wrapper, which treats all requests as prefills."""

    kernels: ClassVar = "cudnn"
    head_dims: ClassVar = (64, 128)

    def num_decode(self, case: Case) -> int:
        return 0

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return WORKSPACE_BYTES

    def _machine_refusal(self, machine: Machine) -> str | None:
        if why := super()._machine_refusal(machine):
            return why
        if importlib.util.find_spec("cudnn") is None:
            return "needs the package nvidia-cudnn-frontend, which is not installed"
        return None

    def _kernel_refusal(self, case: Case) -> str | None:
        assert isinstance(case.shape, AttnShape)
        elements = case.batch.num_tokens * case.shape.num_q_heads * case.shape.head_dim
        if elements >= 2**31:
            return f"counts the elements of q in 32 bits, and this batch has {elements}"
        return super()._kernel_refusal(case)


class CudnnPrepared(PagedPrepared):
    """One call for all requests; each working set has its own wrapper and plan."""

    def __init__(self, case: Case, setting: Setting, layout: str) -> None:
        import torch

        super().__init__(case, setting, layout=layout, nan_tails=False)
        _forget_graphs()
        self.requests = PagedRequests.of(case.batch, 0, len(case.batch), self.block_size)
        self.max_kv_len = -(-self.requests.max_kv_len // TILE) * TILE
        self.pools = _heads_first(self.kv, self.layout)
        self.workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=setting.device)
        self.row_elements = self.shape.num_q_heads * self.shape.head_dim
        self.wrappers = [self._wrapper() for _ in range(setting.sets)]
        self._settle_offsets()
        for index in range(setting.sets):
            self._plan(index)
        self.plan = partial(self._plan, 0)
        self.calls = rotating(self._launch, setting.sets)
        self.resolved["prefill"] = "BatchPrefill, cudnn"

    def _wrapper(self) -> Any:
        """It only accepts NHD by name; cuDNN takes the layout from the strides."""
        from flashinfer import BatchPrefillWithPagedKVCacheWrapper

        return BatchPrefillWithPagedKVCacheWrapper(self.workspace, "NHD", backend="cudnn")

    def _settle_offsets(self) -> None:
        """Offsets of requests in q count elements, in newer releases of FlashInfer tokens."""
        self._plan(0)
        try:
            self._launch(0)
        except ValueError as error:
            if "qo_indptr" not in str(error):
                raise
            self.row_elements = 1

    def _plan(self, index: int) -> None:
        requests = self.requests
        self.wrappers[index].plan(
            requests.qo_indptr * self.row_elements,
            requests.kv_indptr,
            requests.page_indices(self.tables, index),
            requests.last_page_len,
            self.shape.num_q_heads,
            self.shape.num_kv_heads,
            self.shape.head_dim,
            self.block_size,
            causal=True,
            sm_scale=self.scale,
            q_data_type=self.queries.dtype,
            kv_data_type=self.kv.dtype,
            o_data_type=self.plain(0).dtype,
            seq_lens=_four_dims(requests.kv_lens).to(self.device),
            seq_lens_q=_four_dims(requests.q_lens).to(self.device),
            block_tables=requests.block_table(self.tables, index, self.max_kv_len),
            max_token_per_sequence=requests.max_q_len,
            max_sequence_kv=self.max_kv_len,
        )

    def _launch(self, index: int) -> None:
        self.wrappers[index].run(self.queries[index], self.pools, out=self.plain(index))


def _heads_first(kv: "torch.Tensor", layout: str) -> "tuple[torch.Tensor, torch.Tensor]":
    """Keys and values as views [pages, kv heads, block, head dim], whatever the memory order."""
    keys, values = (kv.transpose(2, 3) if layout == "NHD" else kv).unbind(1)
    return keys, values


def _four_dims(lengths: "torch.Tensor") -> "torch.Tensor":
    return lengths.view(-1, 1, 1, 1)


def _forget_graphs() -> None:
    """FlashInfer caches graphs by size, not by strides or pages, and would run another case's."""
    from flashinfer.cudnn import prefill

    build = getattr(prefill, "_build_prefill_graph", None)
    if build is not None:
        kept = inspect.getclosurevars(inspect.unwrap(build, stop=_keeps)).nonlocals.get("cache")
        if kept is not None:
            kept.clear()


def _keeps(function: Any) -> bool:
    return "cache" in inspect.getclosurevars(function).nonlocals
