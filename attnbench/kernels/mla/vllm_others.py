"""The other MLA backends of the installed vLLM, under the names of its registry."""

import re
from collections.abc import Iterator

from attnbench.kernels.base import Backend
from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.mla_sparse import FLASHINFERS_MOST_DECODED, VllmSparseMlaBackend
from attnbench.kernels.vllm.names import registered

# Other platforms', and those that a model's own layer drives instead of MLAAttention.
ELSEWHERE = re.compile(r"^(ROCM|XPU|CPU|AMX)_|DSV4")
# Beside what vLLM says of an entry itself.
KNOWN: dict[str, dict[str, object]] = {
    "FLASHINFER_MLA_SPARSE_SM90": {
        "split_queries": True,
        "most_decoded": FLASHINFERS_MOST_DECODED,
    },
    "FLASHINFER_MLA_SPARSE_SM120": {
        "dense_prefill": False,
        "kv_cache_dtypes": ("auto", "fp8_ds_mla"),
    },
}


def more_backends() -> Iterator[Backend]:
    """One per MLA name; the registry drops those that a backend with a file of its own answers to.

    vLLM itself says what each can serve and how it splits a batch.
    """
    for name in registered():
        if "MLA" in name and not ELSEWHERE.search(name):
            kind = VllmSparseMlaBackend if "SPARSE" in name else VllmMlaBackend
            formats = ("auto", *FP8, "fp8_ds_mla")
            given = {"name": name.lower(), "enum": name, "kv_cache_dtypes": formats}
            yield type(name, (kind,), given | KNOWN.get(name, {}))()
