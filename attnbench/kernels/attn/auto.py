"""What the installed vLLM takes for standard attention."""

from typing import ClassVar

from attnbench.kernels.vllm.auto import Auto


class AutoAttention(Auto):
    """As vLLM serves without `--attention-backend`."""

    knobs: ClassVar = Auto.knobs | {"decode_kernel", "mixed_windows"}
