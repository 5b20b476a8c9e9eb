"""FlashInfer's paged MLA decode with its FlashAttention 2 kernels."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_mla.backend import SM_MAJORS, FlashInferMlaBackend
from attnbench.kernels.flashinfer_mla.paged import PagedMlaPrepared
from attnbench.specs.case import Case


class FlashInferMlaFa2(FlashInferMlaBackend):
    """All requests, long ones too, in the latent space."""

    name: ClassVar = "flashinfer-mla-fa2"
    sm_majors: ClassVar = SM_MAJORS["fa2"]
    path: ClassVar = "decode"
    dims: ClassVar = {"kv_lora_rank": (512,), "qk_rope_head_dim": (64,)}

    def num_decode(self, case: Case) -> int:
        return len(case.batch)

    def prepare(self, case: Case, setting: Setting) -> PagedMlaPrepared:
        return PagedMlaPrepared(case, setting, "fa2")
