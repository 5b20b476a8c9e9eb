"""FlashInfer's paged MLA decode with its FlashAttention 2 kernels."""

from typing import ClassVar

from attnbench.kernels.flashinfer_mla.backend import SM_MAJORS
from attnbench.kernels.flashinfer_mla.paged import PagedMlaBackend


class FlashInferMlaFa2(PagedMlaBackend):
    """BatchMLAPagedAttentionWrapper with fa2."""

    name: ClassVar = "flashinfer-mla-fa2"
    kernels: ClassVar = "fa2"
    sm_majors: ClassVar = SM_MAJORS["fa2"]
