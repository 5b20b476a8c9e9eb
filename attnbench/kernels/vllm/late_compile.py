"""vLLM's operations call torch.compile when they are first used, not when a layer is made.

Each layer of MLA makes two operations for fp8 queries, whatever its cache. torch.compile copies
Inductor's settings four times for each, so a layer took 15 ms: most of an outcome's preparation.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

Function = Callable[..., Any]


@cache
def compile_when_used() -> None:
    """Once in a process; a release without CustomOp.maybe_compile is left as it is."""
    try:
        from vllm.model_executor.custom_op import CustomOp
    except ImportError:
        return
    operations: Any = CustomOp
    own = getattr(operations, "maybe_compile", None)
    if own is not None:
        operations.maybe_compile = lambda *args, **kwargs: made_when_called(
            partial(own, *args, **kwargs)
        )


def made_when_called(make: Callable[[], Function]) -> Function:
    """The function that `make` returns, which is called once, when that function is."""
    made = cache(make)

    def call(*args: Any, **kwargs: Any) -> Any:
        return made()(*args, **kwargs)

    return call
