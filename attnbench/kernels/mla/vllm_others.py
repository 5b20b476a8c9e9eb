"""The other MLA backends of the installed vLLM, under the names of its registry."""

import re
from collections.abc import Iterator

from attnbench.kernels.base import Backend
from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.mla_sparse import VllmSparseMlaBackend
from attnbench.kernels.vllm.names import registered

# Other platforms', and those that a model's own layer drives instead of MLAAttention.
ELSEWHERE = re.compile(r"^(ROCM|XPU|CPU|AMX)_|DSV4")


def more_backends() -> Iterator[Backend]:
    """One per MLA name; the registry drops those that a backend with a file of its own answers to.

    vLLM itself says what each can serve and how it splits a batch.
    """
    for name in registered():
        if "MLA" in name and not ELSEWHERE.search(name):
            kind = VllmSparseMlaBackend if "SPARSE" in name else VllmMlaBackend
            formats = ("auto", *FP8, "fp8_ds_mla")
            given = {"name": name.lower(), "enum": name, "kv_cache_dtypes": formats}
            yield type(name, (kind,), given)()
