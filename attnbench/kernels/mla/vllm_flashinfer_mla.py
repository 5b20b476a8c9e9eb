"""TensorRT-LLM's MLA decode for Blackwell through FlashInfer, as vLLM serves it."""

from typing import ClassVar

from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend


class VllmFlashInferMla(VllmMlaBackend):
    """Written against vLLM's sources; not yet run on Blackwell."""

    name: ClassVar = "flashinfer_mla"
    enum: ClassVar = "FLASHINFER_MLA"
    sm_majors: ClassVar = (10,)
    query_lens: ClassVar = "uniform"
    kv_cache_dtypes: ClassVar = ("auto", *FP8)
    dims: ClassVar = {
        "kv_lora_rank": (512,),
        "qk_rope_head_dim": (64,),
        "qk_nope_head_dim": (64, 128, 192),
    }
