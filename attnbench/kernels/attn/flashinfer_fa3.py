"""FlashInfer's kernels for Hopper, through its paged wrappers."""

from typing import ClassVar

from attnbench.kernels.flashinfer_attn.wrapped import WrappedBackend


class FlashInferFa3(WrappedBackend):
    """fa3 even for decodes, where FlashInfer itself picks fa2: fa3 has no split KV or head packing.

    An fp8 cache would need fp8 queries. Attention sinks are refused: the wrappers ignore them.
    """

    name: ClassVar = "flashinfer-fa3"
    kernels: ClassVar = "fa3"
    features: ClassVar = frozenset({"window", "softcap"})
