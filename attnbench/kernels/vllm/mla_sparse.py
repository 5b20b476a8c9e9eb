"""vLLM's sparse MLA backends: every token, of decodes and prefills, attends to selected keys."""

from typing import ClassVar

from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.served import SERVER_KNOBS
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case

USUAL_TOPK = 2048  # of DeepSeek-V3.2


class VllmSparseMlaBackend(VllmMlaBackend):
    """One path, so no threshold and no prefill backend; page tails are never read."""

    knobs: ClassVar = SERVER_KNOBS
    features: ClassVar = frozenset({"index_topk"})
    needs: ClassVar = {"index_topk": USUAL_TOPK}
    sparse: ClassVar = True
    nan_tails: ClassVar = True
    topk_multiple: ClassVar[int] = 64

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return 0

    def refusal(self, case: Case, machine: Machine) -> str | None:
        topk = case.index_topk
        if topk is None:
            return f"attends only to selected keys, e.g. --index-topk {USUAL_TOPK}"
        if topk % self.topk_multiple:
            return f"takes --index-topk in steps of {self.topk_multiple}, not {topk}"
        return super().refusal(case, machine)
