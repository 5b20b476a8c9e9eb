"""DeepSeek's FlashMLA as vLLM serves it."""

from typing import ClassVar

from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend


class FlashMla(VllmMlaBackend):
    """Its tile scheduler sets the splits, so there is no knob for them."""

    name: ClassVar = "flashmla"
    enum: ClassVar = "FLASHMLA"
    sm_majors: ClassVar = (9,)
    query_lens: ClassVar = "uniform"
    own_threshold: ClassVar = 128
    kv_cache_dtypes: ClassVar = ("auto", *FP8)
    dims: ClassVar = {"kv_lora_rank": (512,), "qk_rope_head_dim": (64,)}
