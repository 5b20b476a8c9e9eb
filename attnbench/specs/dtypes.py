"""Names of data types: ours, torch's, and other spellings."""

from collections.abc import Mapping
from typing import get_args

from attnbench.specs.case import Dtype, KvDtype

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
# torch's by ours.
TORCH_NAMES: Mapping[str, str] = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp32": "float32",
    "fp8": "float8_e4m3fn",
    "fp8_e4m3": "float8_e4m3fn",
    "fp8_e5m2": "float8_e5m2",
}
# Ours by other names.
ALIASES: Mapping[str, Dtype] = {
    **{TORCH_NAMES[ours]: ours for ours in DTYPES},
    "half": "fp16",
    "float": "fp32",
}
SPELLINGS: Mapping[str, Dtype] = {**ALIASES, **{ours: ours for ours in DTYPES}}
# Our names of a KV cache's fp8, by torch's names and by ours.
_FP8: tuple[KvDtype, ...] = ("fp8_e4m3", "fp8_e5m2")
FP8_SPELLINGS: Mapping[str, KvDtype] = {
    spelling: ours for ours in _FP8 for spelling in (ours, TORCH_NAMES[ours])
}
