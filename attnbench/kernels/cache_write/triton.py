"""vLLM's Triton kernel, `triton_reshape_and_cache_flash`."""

from typing import ClassVar

from attnbench.kernels.base import Refused
from attnbench.kernels.cache_write_base.backend import WriteBackend
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite
from attnbench.specs.case import Case


class TritonWrite(WriteBackend):
    """Either layout, by the strides of the cache, which is passed as NHD.

    It stores e4m3, whichever fp8 is asked for.
    """

    name: ClassVar = "triton"
    aliases: ClassVar = ("triton_reshape_and_cache_flash",)
    module: ClassVar = "vllm"
    devices: ClassVar = ("cuda",)
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3")
    fp8_capability: ClassVar = (8, 9)

    def _case_refusal(self, case: Case) -> str | None:
        if case.kv_cache_dtype == "fp8_e5m2":
            return "stores e4m3 even if fp8_e5m2 is asked for"
        return super()._case_refusal(case)

    def write_keys_values(self, write: KeyValueWrite) -> KeyValueWrite:
        try:
            from vllm.v1.attention.ops.triton_reshape_and_cache_flash import (
                triton_reshape_and_cache_flash,
            )
        except ImportError as error:
            raise Refused(
                f"this vLLM does not have the Triton kernel where 0.20 and later have it: {error}"
            ) from None
        return write.written_by_slots(triton_reshape_and_cache_flash)
