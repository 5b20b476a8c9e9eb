"""FLASHINFER of vLLM: FlashInfer's wrappers for prompts, and the decode kernel that is served."""

from typing import Any, ClassVar

from attnbench.kernels.base import Refused, Setting
from attnbench.kernels.tolerance import attention
from attnbench.kernels.vllm.attention import VllmAttention
from attnbench.kernels.vllm.attention_prepared import VllmPrepared
from attnbench.kernels.vllm.flashinfer_decode import (
    asked_kernel,
    build_xqa,
    decide_as_served,
    decode_refusal,
    expected_kernel,
    kernel_name,
    verify_kernel,
)
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, Value
from attnbench.specs.shape import AttnShape

# Cache dtypes beside which vLLM may quantise queries.
FP8_QUERIES = ("fp8", "fp8_e4m3")
# Beside those of attention, of XQA over a bf16 or fp16 cache: each tile's weights are scaled by a
# rounded factor and rounded again, and groups of warps add rounded outputs (xqa/mha.cu).
XQA_ROUNDINGS = 3


class VllmFlashInfer(VllmAttention):
    """It decodes by FlashInfer's own kernels unless `decode_kernel` names others."""

    name: ClassVar = "flashinfer"
    aliases: ClassVar = ("FLASHINFER",)
    enum: ClassVar = "FLASHINFER"
    knobs: ClassVar = VllmAttention.knobs | {"decode_kernel"}
    features: ClassVar = frozenset({"window", "softcap", "sinks"})
    workspace_bytes: ClassVar = 394 * 2**20
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")

    def attention_config(self, case: Case) -> dict[str, object]:
        fields: dict[str, object] = {}
        if asked_kernel(case) == "native":
            fields["use_trtllm_attention"] = False
        if case.kv_cache_dtype == "fp8_e5m2":
            # vLLM would quantise queries to e4m3, which its own plan for e5m2 does not accept.
            fields["disable_flashinfer_q_quantization"] = True
        return fields

    def refusal(self, case: Case, machine: Machine) -> str | None:
        native, on_blackwell = asked_kernel(case) == "native", (machine.capability or (0,))[0] == 10
        if native and on_blackwell and case.kv_cache_dtype in FP8_QUERIES:
            return f"has no native kernel for fp8 queries, which vLLM makes on {machine.sm}"
        if case.sinks and machine.kind == "cuda" and (native or not on_blackwell):
            return (
                "takes --sinks by trtllm-gen alone, so on SM100 and not with --decode-kernel "
                f"native; this is {machine.sm} ({machine.name})"
            )
        decodes = self.num_decode(case) and machine.kind == "cuda"
        why = decode_refusal(case, machine) if decodes else None
        return why or super().refusal(case, machine)

    def prepare(self, case: Case, setting: Setting) -> VllmPrepared:
        if asked_kernel(case) != "native":
            decide_as_served()
        ready = super().prepare(case, setting)
        if ready.resolved.get("decode_kernel") == "xqa":
            assert isinstance(case.shape, AttnShape)
            page = int(ready.resolved["block_size"])
            if not ready.caches.quantised:
                ready.tolerance = attention(case.dtype, more=XQA_ROUNDINGS)
            build_xqa(ready.queries, ready.caches.kv_dtype, case.shape, page)
        return ready

    def verify(self, case: Case, layer: Any, builder: Any, metadata: Any) -> dict[str, Value]:
        facts: dict[str, Value] = {}
        for path in ("prefill", "decode"):
            if (plan := getattr(metadata, path)) is None:
                continue
            facts[f"{path}_kernel"] = kernel_name(plan)
            dtype = getattr(metadata, f"q_data_type_{path}")
            facts["query_dtype"] = str(dtype).removeprefix("torch.")
        if metadata.decode is not None:
            asked = asked_kernel(case)
            capability = _capability() if asked == "served" else None
            verify_kernel(metadata.decode, expected_kernel(asked, capability))
        prefills = len(case.batch) - self.num_decode(case)
        if metadata.num_prefills != prefills:
            raise Refused(
                f"expected {prefills} requests on the prefill path, but vLLM sends "
                f"{metadata.num_prefills}"
            )
        return facts


def _capability() -> tuple[int, int] | None:
    """The GPU's, as vLLM sees it."""
    from vllm.platforms import current_platform

    found = current_platform.get_device_capability()
    return None if found is None else (found.major, found.minor)
