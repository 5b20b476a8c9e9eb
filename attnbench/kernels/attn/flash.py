"""FlashAttention 2, 3 or 4, as vLLM serves it."""

from typing import Any, ClassVar

from attnbench.kernels.base import Refused
from attnbench.kernels.vllm.attention import VllmAttention
from attnbench.kernels.vllm.flash_versions import unsupported
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case, Value


class Flash(VllmAttention):
    """FLASH_ATTN; vLLM chooses the version for the GPU unless --flash-version names one."""

    name: ClassVar = "flash"
    aliases: ClassVar = ("FLASH_ATTN",)
    enum: ClassVar = "FLASH_ATTN"
    knobs: ClassVar = VllmAttention.knobs | {"flash_version", "num_splits", "mixed_windows"}
    features: ClassVar = frozenset({"window", "softcap", "sinks"})
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3")

    def attention_config(self, case: Case) -> dict[str, object]:
        named = {
            "flash_attn_version": case.knob("flash_version"),
            "flash_attn_max_num_splits_for_cuda_graph": case.knob("num_splits"),
        }
        return {name: value for name, value in named.items() if value is not None}

    def _vllm_refusal(self, case: Case, machine: Machine) -> str | None:
        version = case.knob("flash_version")
        if version is not None and (why := unsupported(int(version))):
            return why
        return super()._vllm_refusal(case, machine)

    def verify(self, case: Case, layer: Any, builder: Any, metadata: Any) -> dict[str, Value]:
        """Needed as vLLM falls back to another version, or to none, without an error."""
        runs, asked = layer.impl.vllm_flash_attn_version, case.knob("flash_version")
        if runs is None or (asked is not None and runs != asked):
            raise Refused(
                f"vLLM would run FlashAttention {runs} instead of {asked or 'any'} for this case"
            )
        splits, wanted = metadata.max_num_splits, case.knob("num_splits")
        if wanted is not None and splits != wanted:
            raise Refused(
                "takes --num-splits only where vLLM decodes from a CUDA graph with FlashAttention "
                "3: with few enough new tokens and without --mode eager"
            )
        facts: dict[str, Value] = {"flash_version": runs}
        if runs == 3:
            facts["scheduled"] = "in each call" if metadata.scheduler_metadata is None else "ahead"
        # 0 leaves the number of splits to the kernel's heuristic.
        return facts | ({"max_num_splits": splits} if splits else {})
