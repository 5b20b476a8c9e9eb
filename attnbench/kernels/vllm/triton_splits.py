"""The number of KV splits of TRITON_MLA: since vLLM 0.25 a function of its module."""

from functools import cache
from typing import Any

from attnbench.kernels.base import Refused
from attnbench.specs.case import Value

FUNCTION = "_compute_num_kv_splits"


@cache
def _module() -> tuple[Any, Any]:
    """vLLM's module and its original function."""
    from vllm.v1.attention.backends.mla import triton_mla

    return triton_mla, getattr(triton_mla, FUNCTION, None)


def force_splits(count: Value | None) -> None:
    """Make the impl use `count` splits in this process, None for its own choice.

    Raises Refused where this vLLM has no such function.
    """
    module, own = _module()
    if own is None:
        if count is not None:
            raise Refused("needs vLLM 0.25 or newer to set the splits of TRITON_MLA")
        return
    setattr(module, FUNCTION, own if count is None else lambda *_: int(count))


def usual_splits(max_seq_len: int) -> int:
    """As vLLM's function has it but for the limit by SMs: a power of two of at least 512 tokens."""
    return 1 << (max(1, max_seq_len // 512) - 1).bit_length()


def splits_for(max_kv_len: int) -> int:
    """The impl's number of splits of the longest sequence; 0 if this vLLM does not expose it."""
    from vllm.platforms import current_platform

    module, own = _module()
    if own is None:
        return 0
    return int(getattr(module, FUNCTION)(max_kv_len, current_platform.num_compute_units()))
