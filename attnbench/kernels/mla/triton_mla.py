"""vLLM's MLA decode in Triton, for any GPU."""

from typing import Any, ClassVar

from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.memory import model_length
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend, reserved
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
from attnbench.kernels.vllm.triton_splits import force_splits, splits_for, usual_splits
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape


class TritonMla(VllmMlaBackend):
    """It treats each new token as a request, so it takes one new token per request."""

    name: ClassVar = "triton_mla"
    enum: ClassVar = "TRITON_MLA"
    knobs: ClassVar = VllmMlaBackend.knobs | {"num_splits"}
    kv_cache_dtypes: ClassVar = ("auto", *FP8)

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        """Beside the context's, an fp32 part of each output for every split."""
        assert isinstance(case.shape, MlaShape)
        most = 2 * (machine.sm_count or 0)
        splits = case.knob("num_splits") or min(usual_splits(model_length(case)), most)
        parts = reserved(case) * case.shape.num_q_heads * int(splits)
        return super().workspace_bytes(case, machine) + parts * (case.shape.kv_lora_rank + 1) * 4

    def configure(self, prepared: VllmMlaPrepared) -> None:
        super().configure(prepared)
        force_splits(prepared.case.knob("num_splits"))

    def facts(self, prepared: VllmMlaPrepared) -> dict[str, Any]:
        return {"num_kv_splits": splits_for(prepared.metadata[0].max_seq_len)}
