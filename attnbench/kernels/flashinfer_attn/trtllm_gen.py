"""TensorRT-LLM's generated kernels for SM100 through FlashInfer; not yet run on hardware.

They fetch whole pages, so page tails hold large values instead of NaN, and unused entries of a
block table name an existing page.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.requests import PagedRequests
from attnbench.kernels.nvfp4 import BLOCK, GLOBAL
from attnbench.kernels.outputs import Nvfp4, Plain
from attnbench.kernels.paged import PagedPrepared
from attnbench.kernels.reference import rotating
from attnbench.specs.case import Case

WORKSPACE_BYTES = 394 * 2**20  # vLLM's; zeroed, as the kernels keep counters in it


class TrtllmGenPrepared(PagedPrepared):
    """The first `num_decode` requests take the decode call, the others the context call."""

    def __init__(self, case: Case, setting: Setting, layout: str, num_decode: int) -> None:
        import torch

        super().__init__(case, setting, layout=layout, nan_tails=False)
        self.workspace = torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device=setting.device)
        total = len(case.batch)
        if num_decode:
            self.resolved["decode"] = "trtllm-gen"
        if num_decode < total:
            self.resolved["prefill"] = "trtllm-gen"
        self.launches = [self._launches(index, num_decode) for index in range(setting.sets)]
        self.calls = rotating(self._launch, setting.sets)

    def _launches(self, index: int, num_decode: int) -> list[Callable[[], object]]:
        total, found = len(self.batch), list[Callable[[], object]]()
        if num_decode:
            requests = PagedRequests.of(self.batch, 0, num_decode, self.block_size)
            found.append(self._decode(index, requests))
        if num_decode < total:
            requests = PagedRequests.of(self.batch, num_decode, total, self.block_size)
            found.append(self._context(index, requests))
        return found

    def _decode(self, index: int, requests: PagedRequests) -> Callable[[], object]:
        from flashinfer.decode import trtllm_batch_decode_with_kv_cache

        return partial(
            trtllm_batch_decode_with_kv_cache,
            **self._common(index, requests),
            max_seq_len=requests.max_kv_len,
            backend="trtllm-gen",
        )

    def _context(self, index: int, requests: PagedRequests) -> Callable[[], object]:
        """`cum_seq_lens_kv` counts pages, as in vLLM."""
        from flashinfer.prefill import trtllm_batch_context_with_kv_cache

        return partial(
            trtllm_batch_context_with_kv_cache,
            **self._common(index, requests),
            max_q_len=requests.max_q_len,
            max_kv_len=requests.max_kv_len,
            batch_size=requests.count,
            cum_seq_lens_q=requests.qo_indptr.to(self.device),
            cum_seq_lens_kv=requests.kv_indptr.to(self.device),
        )

    def _common(self, index: int, requests: PagedRequests) -> dict[str, Any]:
        """The arguments of both calls; FlashInfer's window does not count the token itself."""
        return {
            "query": self.queries[index, requests.tokens],
            "kv_cache": self.kv,
            "workspace_buffer": self.workspace,
            "block_tables": requests.block_table(self.tables, index),
            "seq_lens": requests.kv_lens.to(self.device),
            "bmm1_scale": self.scale * self.query_scale * self.key_scale,
            "window_left": -1 if self.case.window is None else self.case.window - 1,
            "kv_layout": self.layout,
            **self._output(index, requests),
        }

    def _output(self, index: int, requests: PagedRequests) -> dict[str, Any]:
        """The arguments for the output and its scale; NVFP4 takes the batch as a whole."""
        from flashinfer.utils import FP4Tensor

        output = self.written[index]
        if isinstance(output, Plain):
            out = output.tensor[requests.tokens]
            return {"out": out, "bmm2_scale": self.value_scale / output.scale}
        assert isinstance(output, Nvfp4)
        sizes = self.queries[index].shape
        return {
            "out": FP4Tensor(output.packed, output.scales, 0, sizes),
            "bmm2_scale": self.value_scale,
            "o_sf_scale": GLOBAL,
            "o_sf_vec_size": BLOCK,
        }

    def _launch(self, index: int) -> None:
        for launch in self.launches[index]:
            launch()
