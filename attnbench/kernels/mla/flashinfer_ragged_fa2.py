"""FlashInfer's ragged prefill with its FlashAttention 2 kernels."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_mla.backend import SM_MAJORS, FlashInferMlaBackend
from attnbench.kernels.flashinfer_mla.ragged import RaggedPrepared
from attnbench.specs.case import Case


class FlashInferRaggedFa2(FlashInferMlaBackend):
    """All requests, decodes too, over up-projected heads."""

    name: ClassVar = "flashinfer-ragged-fa2"
    sm_majors: ClassVar = SM_MAJORS["fa2"]
    path: ClassVar = "prefill"
    dims: ClassVar = {"qk_head_dim": (64, 128, 192, 256), "v_head_dim": (64, 128, 256)}

    def num_decode(self, case: Case) -> int:
        return 0

    def prepare(self, case: Case, setting: Setting) -> RaggedPrepared:
        return RaggedPrepared(case, setting, "fa2")
