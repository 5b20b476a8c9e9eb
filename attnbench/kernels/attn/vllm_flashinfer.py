"""FlashInfer's wrappers, planned and run by vLLM."""

from typing import Any, ClassVar

from attnbench.kernels.base import Refused
from attnbench.kernels.vllm.attention import VllmAttention
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, Value


class VllmFlashInfer(VllmAttention):
    """FLASHINFER with its native kernels.

    By default vLLM decodes through another API where it finds cubins or a network, so the same
    command would measure different kernels on different hosts.
    """

    name: ClassVar = "flashinfer"
    aliases: ClassVar = ("FLASHINFER",)
    enum: ClassVar = "FLASHINFER"
    features: ClassVar = frozenset({"window", "softcap"})
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")

    def attention_config(self, case: Case) -> dict[str, object]:
        fields: dict[str, object] = {"use_trtllm_attention": False}
        if case.kv_cache_dtype == "fp8_e5m2":
            # vLLM would quantise queries to e4m3, which its own plan for e5m2 does not accept.
            fields["disable_flashinfer_q_quantization"] = True
        return fields

    def refusal(self, case: Case, machine: Machine) -> str | None:
        if case.window is not None and machine.capability == (9, 0):
            return "does not take --window on SM90, where vLLM does not use it for sliding windows"
        return super().refusal(case, machine)

    def verify(self, case: Case, layer: Any, builder: Any, metadata: Any) -> dict[str, Value]:
        facts: dict[str, Value] = {}
        for path in ("prefill", "decode"):
            if (plan := getattr(metadata, path)) is None:
                continue
            if not hasattr(plan, "wrapper"):
                raise Refused(f"vLLM chose {type(plan).__name__} instead of the native {path}")
            facts[f"{path}_kernel"] = str(getattr(plan.wrapper, "_backend", "unknown"))
            dtype = getattr(metadata, f"q_data_type_{path}")
            facts["query_dtype"] = str(dtype).removeprefix("torch.")
        if metadata.num_decodes != self.num_decode(case):
            raise Refused(
                f"expected {self.num_decode(case)} requests on the decode path, but vLLM sends "
                f"{metadata.num_decodes}"
            )
        return facts
