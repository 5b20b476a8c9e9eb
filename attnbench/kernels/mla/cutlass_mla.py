"""CUTLASS's MLA decode for Blackwell, as vLLM serves it."""

from typing import Any, ClassVar

from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case

MOST_HEADS = 128  # queries are padded to this many


class CutlassMla(VllmMlaBackend):
    """Written against vLLM's sources; not yet run on Blackwell."""

    name: ClassVar = "cutlass_mla"
    enum: ClassVar = "CUTLASS_MLA"
    knobs: ClassVar = VllmMlaBackend.knobs | {"num_splits"}
    sm_majors: ClassVar = (10,)
    kv_cache_dtypes: ClassVar = ("auto", *FP8)
    dims: ClassVar = {"kv_lora_rank": (512,), "qk_rope_head_dim": (64,)}
    bare_block_size: ClassVar = 128
    split_queries: ClassVar = True

    def refusal(self, case: Case, machine: Machine) -> str | None:
        reason = super().refusal(case, machine)
        heads = case.shape.num_q_heads
        if reason is None and heads > MOST_HEADS:
            return f"takes at most {MOST_HEADS} heads, not {heads}"
        return reason

    def configure(self, prepared: VllmMlaPrepared) -> None:
        super().configure(prepared)
        if (splits := prepared.case.knob("num_splits")) is not None:
            for layer in prepared.layers:
                layer.impl._num_kv_splits = int(splits)

    def facts(self, prepared: VllmMlaPrepared) -> dict[str, Any]:
        return {"num_kv_splits": int(prepared.impl._num_kv_splits)}
