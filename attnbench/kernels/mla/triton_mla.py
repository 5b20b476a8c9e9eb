"""vLLM's MLA decode in Triton, for any GPU."""

from typing import Any, ClassVar

from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
from attnbench.kernels.vllm.triton_splits import force_splits, splits_for


class TritonMla(VllmMlaBackend):
    """It treats each new token as a request, so it takes one new token per request."""

    name: ClassVar = "triton_mla"
    enum: ClassVar = "TRITON_MLA"
    knobs: ClassVar = VllmMlaBackend.knobs | {"num_splits"}
    kv_cache_dtypes: ClassVar = ("auto", *FP8)

    def configure(self, prepared: VllmMlaPrepared) -> None:
        super().configure(prepared)
        force_splits(prepared.case.knob("num_splits"))

    def facts(self, prepared: VllmMlaPrepared) -> dict[str, Any]:
        return {"num_kv_splits": splits_for(prepared.metadata[0].max_seq_len)}
