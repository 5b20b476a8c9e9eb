"""TensorRT-LLM's kernels for Hopper and SM12x: trtllm_fmha_v2_prefill.

They fetch whole pages: the tails of pages hold large values, not NaN.
"""

from functools import partial
from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.backend import FlashInferBackend
from attnbench.kernels.flashinfer_attn.requests import PagedRequests
from attnbench.kernels.paged import DEFAULT_BLOCK_SIZE, PagedPrepared
from attnbench.kernels.prefill import DEFAULT_LAYOUT, PrefillBackend
from attnbench.kernels.reference import rotating
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case

WORKSPACE_BYTES = 128 * 2**20  # zeroed, since the kernels count tiles in it


class TrtllmFmhaV2(PrefillBackend, FlashInferBackend):
    """bf16 only: its fp16 kernels accumulate in fp16, and its fp8 kernels hang on SM90."""

    name: ClassVar = "trtllm-fmha-v2"
    aliases: ClassVar = ("fmha-v2",)
    kernels: ClassVar = "trtllm-fmha-v2"
    dtypes: ClassVar = ("bf16",)
    head_dims: ClassVar = (64, 128, 256)

    def prepare(self, case: Case, setting: Setting) -> "FmhaV2Prepared":
        return FmhaV2Prepared(case, setting)

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return WORKSPACE_BYTES

    def quant_refusal(self, quant: str) -> str:
        return f"does not take --quant {quant}: FlashInfer warns that its fp8 kernels hang on SM90"

    def _kernel_refusal(self, case: Case) -> str | None:
        block_size = case.block_size or DEFAULT_BLOCK_SIZE
        if block_size & (block_size - 1):
            return f"needs a --block-size that is a power of two, not {block_size}"
        return super()._kernel_refusal(case)


class FmhaV2Prepared(PagedPrepared):
    """Launches need no plan; each set has its arguments bound."""

    def __init__(self, case: Case, setting: Setting) -> None:
        import torch

        super().__init__(case, setting, layout=DEFAULT_LAYOUT, nan_tails=False)
        self.workspace = torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device=setting.device)
        self.requests = PagedRequests.of(case.batch, 0, len(case.batch), self.block_size)
        self.launches = [self._bound(index) for index in range(setting.sets)]
        self.calls = rotating(self._launch, setting.sets)
        self.resolved["prefill"] = "trtllm_fmha_v2_prefill"

    def _bound(self, index: int) -> "partial[object]":
        from flashinfer.prefill import trtllm_fmha_v2_prefill

        requests = self.requests
        return partial(
            trtllm_fmha_v2_prefill,
            (self.queries[index], self.kv),
            f"Q_PAGED_KV_{self.layout}",
            self.workspace,
            requests.kv_lens.to(self.device),
            requests.max_q_len,
            requests.max_kv_len,
            self.scale,
            1.0,  # scale of V
            requests.count,
            requests.qo_indptr.to(self.device),
            requests.cumulative_kv_lens.to(self.device),
            block_tables=requests.block_table(self.tables, index),
            out=self.plain(index),
            mask_mode="causal",
        )

    def _launch(self, index: int) -> None:
        self.launches[index]()
