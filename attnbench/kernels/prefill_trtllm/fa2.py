"""The baseline: FlashInfer's own kernels for Ampere and newer."""

from typing import ClassVar

from attnbench.kernels.flashinfer_attn.wrapped import WrappedBackend
from attnbench.kernels.prefill import DEFAULT_LAYOUT, PrefillBackend


class Fa2(PrefillBackend, WrappedBackend):
    """BatchPrefillWithPagedKVCacheWrapper with fa2, which has no kernel for fp8 queries."""

    name: ClassVar = "fa2"
    kernels: ClassVar = "fa2"
    default_layout: ClassVar = DEFAULT_LAYOUT
