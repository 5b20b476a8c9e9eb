"""TensorRT-LLM's generated kernels, through FlashInfer without vLLM."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.backend import FlashInferBackend
from attnbench.kernels.flashinfer_attn.trtllm_gen import WORKSPACE_BYTES, TrtllmGenPrepared
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case


class FlashInferTrtllm(FlashInferBackend):
    """SM100 only: elsewhere FlashInfer decodes with another kernel and has none for prefill."""

    name: ClassVar = "flashinfer-trtllm"
    kernels: ClassVar = "trtllm-gen"
    features: ClassVar = frozenset({"window"})
    head_dims: ClassVar = (64, 128, 256)

    def prepare(self, case: Case, setting: Setting) -> TrtllmGenPrepared:
        return TrtllmGenPrepared(case, setting, "HND", self.num_decode(case))

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return WORKSPACE_BYTES
