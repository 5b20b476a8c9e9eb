"""The other standard backends of the installed vLLM, under the names of its registry."""

import re
from collections.abc import Iterator
from typing import ClassVar

from attnbench.kernels.base import Backend
from attnbench.kernels.vllm.attention import VllmAttention
from attnbench.kernels.vllm.names import registered

# Other families' (MLA, sparse), other platforms', and names that stand for no backend.
ELSEWHERE = re.compile(r"MLA|SPARSE|_[MD]SA$|^(ROCM|XPU|CPU)_|^(TORCH_SDPA|NO_ATTENTION|CUSTOM)$")


class OtherAttention(VllmAttention):
    """A backend that attnbench knows only by name; vLLM's own layer knows how to build it."""

    name: ClassVar[str]
    features: ClassVar = frozenset({"window", "softcap", "sinks"})
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")


def more_backends() -> Iterator[Backend]:
    """One per name; the registry drops those that a backend with a file of its own answers to."""
    for name in registered():
        if not ELSEWHERE.search(name):
            yield type(name, (OtherAttention,), {"name": name.lower(), "enum": name})()
