"""FlashInfer's paged MLA decode with its Hopper kernels."""

from typing import ClassVar

from attnbench.kernels.flashinfer_mla.backend import SM_MAJORS
from attnbench.kernels.flashinfer_mla.paged import PagedMlaBackend


class FlashInferMlaFa3(PagedMlaBackend):
    """BatchMLAPagedAttentionWrapper with fa3."""

    name: ClassVar = "flashinfer-mla-fa3"
    kernels: ClassVar = "fa3"
    sm_majors: ClassVar = SM_MAJORS["fa3"]
