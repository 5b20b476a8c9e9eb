"""The baseline on Hopper: FlashInfer's fa3."""

from typing import ClassVar

from attnbench.kernels.flashinfer_attn.wrapped import WrappedBackend
from attnbench.kernels.prefill import DEFAULT_LAYOUT, PrefillBackend


class Fa3(PrefillBackend, WrappedBackend):
    """BatchPrefillWithPagedKVCacheWrapper with fa3, which writes no fp8."""

    name: ClassVar = "fa3"
    kernels: ClassVar = "fa3"
    default_layout: ClassVar = DEFAULT_LAYOUT
    quants: ClassVar = ("bf16", "fp8-qkv")
