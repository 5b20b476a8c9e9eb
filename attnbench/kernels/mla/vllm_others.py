"""The other MLA backends of the installed vLLM's registry, under their names there."""

import re
from collections.abc import Iterator

from attnbench.kernels.base import Backend
from attnbench.kernels.mla_base.backend import FP8
from attnbench.kernels.vllm.mla_backend import VllmMlaBackend
from attnbench.kernels.vllm.mla_sparse import VllmSparseMlaBackend
from attnbench.kernels.vllm.names import registered

# Backends with a file of their own; then other platforms', and those that a model's own layer
# drives in place of MLAAttention.
OURS = {
    "FLASHMLA",
    "FLASHMLA_SPARSE",
    "FLASH_ATTN_MLA",
    "FLASH_ATTN_MLA_SPARSE",
    "FLASHINFER_MLA",
    "FLASHINFER_MLA_SPARSE",
    "CUTLASS_MLA",
    "TOKENSPEED_MLA",
    "TRITON_MLA",
}
ELSEWHERE = re.compile(r"^(ROCM|XPU|CPU|AMX)_|DSV4")


def more_backends() -> Iterator[Backend]:
    """One for each name that has no file; vLLM tells what it can serve, and how it splits."""
    for name in registered():
        if "MLA" in name and name not in OURS and not ELSEWHERE.search(name):
            kind = VllmSparseMlaBackend if "SPARSE" in name else VllmMlaBackend
            formats = ("auto", *FP8, "fp8_ds_mla")
            given = {"name": name.lower(), "enum": name, "kv_cache_dtypes": formats}
            yield type(name, (kind,), given)()
