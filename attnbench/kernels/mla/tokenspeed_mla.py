"""TokenSpeed's MLA decode for Blackwell, as vLLM serves it."""

from typing import ClassVar

from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend


class TokenspeedMla(VllmMlaBackend):
    """DeepSeek's dims over an fp8 cache. Not yet run on Blackwell."""

    name: ClassVar = "tokenspeed_mla"
    enum: ClassVar = "TOKENSPEED_MLA"
    sm_majors: ClassVar = (10,)
    query_lens: ClassVar = "uniform"
    kv_cache_dtypes: ClassVar = FP8
    dims: ClassVar = {
        "kv_lora_rank": (512,),
        "qk_rope_head_dim": (64,),
        "qk_nope_head_dim": (128,),
        "v_head_dim": (128,),
    }
