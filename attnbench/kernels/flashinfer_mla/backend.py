"""The refusals of both."""

from typing import ClassVar

from attnbench.kernels.memory import Bytes
from attnbench.kernels.mla_base.backend import MlaBackend
from attnbench.kernels.mla_base.memory import head_bytes, latent_bytes
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape

MIB = 2**20
WORKSPACE = 128 * MIB  # FlashInfer's advice
APPENDED = (512, 64)  # that append_paged_mla_kv_cache writes
SM_MAJORS = {"fa2": (8, 9, 10, 11, 12), "fa3": (9,)}
DEFAULT_BLOCK_SIZE = 64


def ints_bytes(case: Case) -> int:
    """Of a workspace that holds seven arrays of work per head, as fa3's (scheduler.cuh)."""
    return max(8 * MIB, 32 * 4096 * case.shape.num_q_heads)


class FlashInferMlaBackend(MlaBackend):
    """bf16 and fp16 only; an fp8 cache would need fp8 queries."""

    module: ClassVar = "flashinfer"
    kernels: ClassVar[str]  # FlashInfer's name for them, a key of SM_MAJORS
    devices: ClassVar = ("cuda",)
    dtypes: ClassVar = ("bf16", "fp16")

    def memory(self, case: Case, sets: int, machine: Machine) -> Bytes:
        """With index arrays, at scope layer the new latents in parts, else ready heads."""
        decodes, block = self.num_decode(case), case.block_size or DEFAULT_BLOCK_SIZE
        held = latent_bytes(case, decodes, sets, block)
        held["page tables"] *= 2
        if case.scope == "layer":
            held["new tokens"] *= 2
        else:
            prefills = case.batch.requests[decodes:]
            held["ready heads"] = sets * head_bytes(prefills, case, rope=True)
        return held | {"workspaces": WORKSPACE + ints_bytes(case)}

    def _latent_refusal(self, case: Case) -> str | None:
        assert isinstance(case.shape, MlaShape)
        dims = (case.shape.kv_lora_rank, case.shape.qk_rope_head_dim)
        if case.scope == "layer" and dims != APPENDED:
            return (
                f"writes {APPENDED[0]} latents and {APPENDED[1]} RoPE elements, not {dims[0]} and "
                f"{dims[1]}; --scope kernel writes none"
            )
        return super()._latent_refusal(case)
