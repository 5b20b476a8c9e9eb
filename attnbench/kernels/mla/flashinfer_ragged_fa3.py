"""FlashInfer's ragged prefill with its Hopper kernels."""

from typing import ClassVar

from attnbench.kernels.flashinfer_mla.backend import SM_MAJORS
from attnbench.kernels.flashinfer_mla.ragged import RaggedBackend


class FlashInferRaggedFa3(RaggedBackend):
    """BatchPrefillWithRaggedKVCacheWrapper with fa3."""

    name: ClassVar = "flashinfer-ragged-fa3"
    kernels: ClassVar = "fa3"
    sm_majors: ClassVar = SM_MAJORS["fa3"]
