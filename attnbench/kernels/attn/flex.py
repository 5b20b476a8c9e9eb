"""PyTorch's FlexAttention over vLLM's paged cache."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.vllm.attention import VllmAttention
from attnbench.kernels.vllm.attention_prepared import VllmPrepared
from attnbench.specs.case import Case


class Flex(VllmAttention):
    """FLEX_ATTENTION, which is compiled for each shape."""

    name: ClassVar = "flex"
    aliases: ClassVar = ("FLEX_ATTENTION",)
    enum: ClassVar = "FLEX_ATTENTION"
    layouts: ClassVar = ("NHD",)
    features: ClassVar = frozenset({"window"})

    def prepare(self, case: Case, setting: Setting) -> VllmPrepared:
        import torch

        # Each shape is one more compilation, and one process is allowed few.
        torch._dynamo.reset()
        return super().prepare(case, setting)
