"""The refusals of both."""

from typing import ClassVar

from attnbench.kernels.mla_base.backend import MlaBackend

MIB = 2**20
WORKSPACE = 128 * MIB  # FlashInfer's advice
SM_MAJORS = {"fa2": (8, 9, 10, 11, 12), "fa3": (9,)}


class FlashInferMlaBackend(MlaBackend):
    """bf16 and fp16 only; an fp8 cache would need fp8 queries."""

    module: ClassVar = "flashinfer"
    devices: ClassVar = ("cuda",)
    dtypes: ClassVar = ("bf16", "fp16")
