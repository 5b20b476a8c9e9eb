"""vLLM's unified attention kernel in Triton."""

from typing import Any, ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.tolerance import attention
from attnbench.kernels.vllm.attention import VllmAttention
from attnbench.kernels.vllm.attention_prepared import VllmPrepared
from attnbench.kernels.vllm.forward import computes_in_fp8
from attnbench.specs.case import Case, Value


class TritonAttention(VllmAttention):
    """TRITON_ATTN; for a few requests with one new token each it splits the keys.

    It lists fp8_e5m2 among its dtypes but writes and reads e4m3 under that name.
    """

    name: ClassVar = "triton"
    aliases: ClassVar = ("TRITON_ATTN",)
    enum: ClassVar = "TRITON_ATTN"
    features: ClassVar = frozenset({"window", "softcap", "sinks"})
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3")
    nan_tails: ClassVar = True  # loads are masked by the length

    def prepare(self, case: Case, setting: Setting) -> VllmPrepared:
        """Its weights are rounded to e4m3 unscaled, the largest as 1 (triton_unified_attention)."""
        ready = super().prepare(case, setting)
        if computes_in_fp8(ready.layer, ready.metadata):
            small = ready.weights_too_small()
            ready.tolerance = attention(case.dtype, weights="fp8", small=small)
        return ready

    def verify(self, case: Case, layer: Any, builder: Any, metadata: Any) -> dict[str, Value]:
        return {"split_below_requests": metadata.seq_threshold_3D}
