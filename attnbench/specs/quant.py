"""Quantisations of a prefill by their names in TRT-LLM's benchmarks."""

from attnbench.specs.case import Case, Value

# The dtypes of q, KV cache and output that each sets in a case; auto is bf16.
QUANTS: dict[str, dict[str, Value]] = {
    "bf16": {"dtype": "bf16"},
    "fp8-qkv": {"dtype": "bf16", "query_dtype": "fp8", "kv_cache_dtype": "fp8"},
    "fp8": {"dtype": "bf16", "query_dtype": "fp8", "kv_cache_dtype": "fp8", "output_dtype": "fp8"},
    "fp8-fp4out": {
        "dtype": "bf16",
        "query_dtype": "fp8",
        "kv_cache_dtype": "fp8",
        "output_dtype": "nvfp4",
    },
}


def quant_of(case: Case) -> str:
    """The name of the case's quantisation; its dtype if nothing is quantised."""
    asked: dict[str, str] = {"query_dtype": case.query_dtype, "kv_cache_dtype": case.kv_cache_dtype}
    asked["output_dtype"] = case.output_dtype
    for name, fields in QUANTS.items():
        if {field: fields.get(field, "auto") for field in asked} == asked:
            return case.dtype if name == "bf16" else name
    return ", ".join(f"{field} {value}" for field, value in asked.items() if value != "auto")
