"""TensorRT-LLM's generated kernels for SM100: trtllm_batch_context_with_kv_cache."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.backend import FlashInferBackend
from attnbench.kernels.flashinfer_attn.trtllm_gen import WORKSPACE_BYTES, TrtllmGenPrepared
from attnbench.kernels.prefill import DEFAULT_LAYOUT, PrefillBackend
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.quant import QUANTS


class TrtllmGen(PrefillBackend, FlashInferBackend):
    """Refused by compute capability, before FlashInfer downloads kernels for another GPU."""

    name: ClassVar = "trtllm-gen"
    aliases: ClassVar = ("trtllm",)
    kernels: ClassVar = "trtllm-gen"
    quants: ClassVar = tuple(QUANTS)

    def prepare(self, case: Case, setting: Setting) -> TrtllmGenPrepared:
        return TrtllmGenPrepared(case, setting, DEFAULT_LAYOUT, 0)

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return WORKSPACE_BYTES
