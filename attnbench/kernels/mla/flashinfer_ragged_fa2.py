"""FlashInfer's ragged prefill with its FlashAttention 2 kernels."""

from typing import ClassVar

from attnbench.kernels.flashinfer_mla.backend import SM_MAJORS
from attnbench.kernels.flashinfer_mla.ragged import RaggedBackend


class FlashInferRaggedFa2(RaggedBackend):
    """BatchPrefillWithRaggedKVCacheWrapper with fa2."""

    name: ClassVar = "flashinfer-ragged-fa2"
    kernels: ClassVar = "fa2"
    sm_majors: ClassVar = SM_MAJORS["fa2"]
