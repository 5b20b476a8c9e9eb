"""How many parts TRITON_MLA splits keys into: a function of vLLM's module, from 0.25 on."""

from functools import cache
from typing import Any

from attnbench.kernels.base import Refused
from attnbench.specs.case import Value

FUNCTION = "_compute_num_kv_splits"


@cache
def _module() -> tuple[Any, Any]:
    """vLLM's module, and the function as vLLM has it."""
    from vllm.v1.attention.backends.mla import triton_mla

    return triton_mla, getattr(triton_mla, FUNCTION, None)


def force_splits(count: Value | None) -> None:
    """Have the impl use `count` parts in this process, None for its own choice, until told anew.

    Raises Refused where this vLLM has no such function.
    """
    module, own = _module()
    if own is None:
        if count is not None:
            raise Refused("needs vLLM 0.25 or newer to set the splits of TRITON_MLA")
        return
    setattr(module, FUNCTION, own if count is None else lambda *_: int(count))


def splits_for(max_kv_len: int) -> int:
    """The parts that the impl makes of the longest sequence; 0 where this vLLM does not say."""
    from vllm.platforms import current_platform

    module, own = _module()
    if own is None:
        return 0
    return int(getattr(module, FUNCTION)(max_kv_len, current_platform.num_compute_units()))
