"""DeepSeek's FlashMLA over selected keys, as vLLM serves it."""

from typing import ClassVar

from attnbench.kernels.vllm.mla_sparse import VllmSparseMlaBackend


class FlashMlaSparse(VllmSparseMlaBackend):
    """Its fp8 cache is fp8_ds_mla, which vLLM also calls fp8."""

    name: ClassVar = "flashmla_sparse"
    enum: ClassVar = "FLASHMLA_SPARSE"
    sm_majors: ClassVar = (9, 10)
    dtypes: ClassVar = ("bf16",)
    kv_cache_dtypes: ClassVar = ("auto", "fp8_ds_mla")
    dims: ClassVar = {"kv_lora_rank": (512,), "qk_rope_head_dim": (64,)}
    topk_multiple: ClassVar = 128
