"""FlashAttention 3 over selected latents, as vLLM serves it on Hopper."""

from typing import ClassVar

from attnbench.kernels.vllm.mla_sparse import VllmSparseMlaBackend


class FlashAttnMlaSparse(VllmSparseMlaBackend):
    """It treats every key as a page of its own, and every new token as a request, prefills too."""

    name: ClassVar = "flashattn_mla_sparse"
    aliases: ClassVar = ("flash_attn_mla_sparse",)
    enum: ClassVar = "FLASH_ATTN_MLA_SPARSE"
    sm_majors: ClassVar = (9,)
    dims: ClassVar = {"kv_lora_rank": (512,), "qk_rope_head_dim": (64,)}
    split_queries: ClassVar = True
