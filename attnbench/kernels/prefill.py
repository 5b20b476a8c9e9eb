"""Shared by the prefill backends: defaults, and the quantisations each of them refuses."""

from typing import ClassVar

from attnbench.kernels.base import Backend
from attnbench.specs.case import Case, Layout
from attnbench.specs.quant import quant_of

DEFAULT_LAYOUT: Layout = "HND"  # for all backends, as in vLLM's TRT-LLM benchmark


class PrefillBackend(Backend):
    """Takes prompts with or without a context; a request of one token is a prefill too."""

    layouts: ClassVar = ("NHD", "HND")
    kv_cache_dtypes: ClassVar = ("auto", "fp8")
    quants: ClassVar[tuple[str, ...]] = ("bf16",)

    def num_decode(self, case: Case) -> int:
        return 0

    def _format_refusal(self, case: Case) -> str | None:
        quant = quant_of(case)
        if quant != case.dtype and quant not in self.quants:
            return self.quant_refusal(quant)
        return super()._format_refusal(case)

    def quant_refusal(self, quant: str) -> str:
        """The refusal of a quantisation that is not among `quants`."""
        return f"does not take --quant {quant} (it takes {', '.join(self.quants)})"
