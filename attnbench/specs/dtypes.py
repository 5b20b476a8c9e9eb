"""Names of data types: ours, torch's, and others that people type."""

from collections.abc import Mapping
from typing import get_args

from attnbench.specs.case import Dtype

# Ours by torch's.
TORCH_NAMES: Mapping[Dtype, str] = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
# Other spellings of ours.
ALIASES: Mapping[str, Dtype] = {
    **{torch: ours for ours, torch in TORCH_NAMES.items()},
    "half": "fp16",
    "float": "fp32",
}


def dtype_named(spelling: object) -> Dtype | None:
    """Our name of a dtype in any spelling, such as torch.bfloat16; None if it is unknown."""
    name = str(spelling).removeprefix("torch.")
    return next((ours for ours in DTYPES if ours == ALIASES.get(name, name)), None)
