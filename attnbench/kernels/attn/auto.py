"""What the installed vLLM takes for standard attention."""

from attnbench.kernels.vllm.auto import Auto


class AutoAttention(Auto):
    """As vLLM serves without `--attention-backend`."""
