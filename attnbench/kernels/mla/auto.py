"""What the installed vLLM takes for MLA."""

from typing import ClassVar

from attnbench.kernels.vllm.auto import Auto


class AutoMla(Auto):
    """As vLLM serves without `--attention-backend`; prefills take vLLM's choice in any backend."""

    path: ClassVar = "decode"
