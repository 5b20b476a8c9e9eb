"""TensorRT-LLM's sparse MLA for Blackwell through FlashInfer, as vLLM serves it."""

from typing import ClassVar

from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.mla_sparse import FLASHINFERS_MOST_DECODED, VllmSparseMlaBackend


class VllmFlashInferMlaSparse(VllmSparseMlaBackend):
    """Written against vLLM's sources; not yet run on Blackwell."""

    name: ClassVar = "flashinfer_mla_sparse"
    enum: ClassVar = "FLASHINFER_MLA_SPARSE"
    sm_majors: ClassVar = (10,)
    most_decoded: ClassVar = FLASHINFERS_MOST_DECODED
    kv_cache_dtypes: ClassVar = ("auto", *FP8)
    dims: ClassVar = {
        "kv_lora_rank": (512,),
        "qk_rope_head_dim": (64,),
        "qk_nope_head_dim": (128, 192),
    }
