"""DeepSeek's FlashMLA over selected keys, as vLLM serves it."""

from typing import ClassVar

from attnbench.kernels.vllm.config import MAX_NUM_BATCHED_TOKENS
from attnbench.kernels.vllm.memory import model_length
from attnbench.kernels.vllm.mla_sparse import VllmSparseMlaBackend
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.cost import ELEMENT_BYTES
from attnbench.specs.shape import MlaShape


class FlashMlaSparse(VllmSparseMlaBackend):
    """Its fp8 cache is fp8_ds_mla, which vLLM also calls fp8."""

    name: ClassVar = "flashmla_sparse"
    enum: ClassVar = "FLASHMLA_SPARSE"
    sm_majors: ClassVar = (9, 10)
    dtypes: ClassVar = ("bf16",)
    kv_cache_dtypes: ClassVar = ("auto", "fp8_ds_mla")
    dims: ClassVar = {"kv_lora_rank": (512,), "qk_rope_head_dim": (64,)}
    topk_multiple: ClassVar = 128
    uniform_decodes: ClassVar = True

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        """Queries in one part for the most tokens of a batch; over fp8 the context in bf16 too."""
        assert isinstance(case.shape, MlaShape)
        rows = max(MAX_NUM_BATCHED_TOKENS, case.batch.num_tokens) * case.shape.num_q_heads
        if case.kv_cache_dtype == "fp8_ds_mla":
            rows += 5 * model_length(case)
        return rows * case.shape.latent_dim * ELEMENT_BYTES["bf16"]
