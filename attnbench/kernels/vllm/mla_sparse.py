"""vLLM's sparse MLA backends: every token, of decodes and prefills, attends to selected keys.

Up to 0.25 there is one path. Later releases send long requests to dense prefill if the selection
holds all of their keys anyway.
"""

from typing import Any, ClassVar

from attnbench.kernels.vllm.mla_backend import VllmMlaBackend, split
from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
from attnbench.kernels.vllm.names import has_dense_sparse_prefill
from attnbench.kernels.vllm.served import SERVER_KNOBS
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case

USUAL_TOPK = 2048  # of DeepSeek-V3.2
FLASHINFERS_MOST_DECODED = ({8: 128, 16: 128, 32: 128, 64: 256}, 1024)


class VllmSparseMlaBackend(VllmMlaBackend):
    """No threshold and no prefill backend to choose; page tails are never read."""

    knobs: ClassVar = SERVER_KNOBS | {"force_mqa"}
    features: ClassVar = frozenset({"index_topk"})
    needs: ClassVar = {"index_topk": USUAL_TOPK}
    sparse: ClassVar = True
    nan_tails: ClassVar = True
    topk_multiple: ClassVar[int] = 64
    dense_prefill: ClassVar[bool] = True  # in releases that have it
    # Beside dense prefills: whether all decodes have as many new tokens as the first, and the most
    # that decode, by number of heads and for all other numbers.
    uniform_decodes: ClassVar[bool] = False
    most_decoded: ClassVar[tuple[dict[int, int], int]] = ({16: 128, 32: 128}, 256)

    def num_decode(self, case: Case) -> int:
        """All requests but those that take the dense prefill."""
        if case.index_topk is None or not self._may_be_dense(case):
            return len(case.batch)
        by_heads, otherwise = self.most_decoded
        most = by_heads.get(case.shape.num_q_heads, otherwise)
        decodes = split(case.batch, most, uniform=self.uniform_decodes)
        longest = max((each.kv_len for each in case.batch.requests[decodes:]), default=0)
        return decodes if longest <= case.index_topk else len(case.batch)

    def _may_be_dense(self, case: Case) -> bool:
        dense = self.dense_prefill and has_dense_sparse_prefill()
        return dense and not case.knob("force_mqa")

    def attention(self, case: Case) -> dict[str, object]:
        """Releases with one path need no setting for it."""
        return {"sparse_mla_force_mqa": True} if _is_forced(case) else {}

    def configure(self, prepared: VllmMlaPrepared) -> None:
        """Knobs are set in vLLM's config."""

    def decodes(self, prepared: VllmMlaPrepared, metadata: Any) -> int:
        """All requests, unless the layer says that prefills are dense."""
        is_dense = getattr(prepared.layers[0], "_use_sparse_mha", None)
        if is_dense is None or not metadata.num_prefills or not is_dense(metadata):
            return len(prepared.batch) + prepared.padding
        return int(metadata.num_decodes)

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return 0

    def refusal(self, case: Case, machine: Machine) -> str | None:
        topk = case.index_topk
        if topk is None:
            return f"attends only to selected keys, e.g. --index-topk {USUAL_TOPK}"
        if topk % self.topk_multiple:
            return f"takes --index-topk in steps of {self.topk_multiple}, not {topk}"
        return super().refusal(case, machine)


def _is_forced(case: Case) -> bool:
    return bool(case.knob("force_mqa")) and has_dense_sparse_prefill()
