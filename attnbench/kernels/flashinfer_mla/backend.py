"""The refusals of both."""

from typing import ClassVar

from attnbench.kernels.mla_base.backend import MlaBackend
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape

MIB = 2**20
WORKSPACE = 128 * MIB  # FlashInfer's advice
APPENDED = (512, 64)  # that append_paged_mla_kv_cache writes
SM_MAJORS = {"fa2": (8, 9, 10, 11, 12), "fa3": (9,)}


class FlashInferMlaBackend(MlaBackend):
    """bf16 and fp16 only; an fp8 cache would need fp8 queries."""

    module: ClassVar = "flashinfer"
    devices: ClassVar = ("cuda",)
    dtypes: ClassVar = ("bf16", "fp16")

    def _latent_refusal(self, case: Case) -> str | None:
        assert isinstance(case.shape, MlaShape)
        dims = (case.shape.kv_lora_rank, case.shape.qk_rope_head_dim)
        if case.scope == "layer" and dims != APPENDED:
            return (
                f"writes {APPENDED[0]} latents and {APPENDED[1]} RoPE elements, not {dims[0]} and "
                f"{dims[1]}; --scope kernel writes none"
            )
        return super()._latent_refusal(case)
