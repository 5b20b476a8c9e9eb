"""What one call of a layer does beside attention: it quantises queries and writes the cache.

vLLM's `Attention.forward` quantises queries for an fp8 cache where the backend takes them so, and
writes the new keys and values where the backend's own `forward` does not. Other backends do both in
`forward`: FLASHINFER quantises queries there for its kernels on SM90, HPC_ATTN writes the cache.
Scope layer is all of it. Scope kernel is the backend's `forward`, with queries that are already in
fp8 where it takes such; what remains inside is said by the row.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attnbench.kernels.vllm.served import max_model_len_of
from attnbench.specs.case import Case, Value

if TYPE_CHECKING:
    import torch


def forward_layer(
    layer: Any, query: "torch.Tensor", before: Sequence[Callable[[], object]], rest: Sequence[Any]
) -> None:
    """One call of scope layer; `before` are the steps that precede the backend's `forward`."""
    if layer.query_quant is not None:
        flat, _ = layer.query_quant(query.flatten(1), layer._q_scale)
        query = flat.view(query.shape)
    for step in before:
        step()
    layer.impl.forward(layer, query, *rest)


def takes_fp8(case: Case, layer: Any, metadata: Any) -> bool:
    """Whether the backend's `forward` gets the queries of scope kernel in fp8.

    For a bare kernel FLASHINFER quantises them inside, as it did before there were others.
    """
    if layer.query_quant is not None:
        return True
    in_forward = [dtype.itemsize == 1 for dtype in _query_dtypes(metadata)]
    return max_model_len_of(case) is not None and bool(in_forward) and all(in_forward)


def inside_facts(case: Case, cls: Any, layer: Any, metadata: Any) -> dict[str, Value]:
    """What a call of scope kernel does that is no attention, e.g. {"inside": "query_quant"}."""
    if case.scope == "layer":
        return {}
    found = []
    quantises = any(dtype.itemsize == 1 for dtype in _query_dtypes(metadata))
    if quantises and not takes_fp8(case, layer, metadata):
        found.append("query_quant")
    if cls.forward_includes_kv_cache_update:
        found.append("cache_write")
    return {"inside": "+".join(found)} if found else {}


def computes_in_fp8(layer: Any, metadata: Any) -> bool:
    """Whether a kernel of this batch rounds attention's weights to fp8, to multiply them by V.

    Kernels do that where they take queries in fp8. XQA on SM90 does it over any e4m3 cache
    (flashinfer/xqa.py, `run_sm90_fp8_mha`). Others widen an fp8 cache to the dtype of the queries.
    """
    if layer.query_quant is not None or any(d.itemsize == 1 for d in _query_dtypes(metadata)):
        return True
    kernel = getattr(getattr(metadata, "decode", None), "kernel", None)
    quantised = str(layer.kv_cache_dtype).startswith("fp8")
    return quantised and kernel is not None and str(kernel.value) == "xqa"


def _query_dtypes(metadata: Any) -> "set[torch.dtype]":
    """Those to which FLASHINFER's `forward` converts queries, by path that the batch takes."""
    paths = [path for path in ("prefill", "decode") if getattr(metadata, path, None) is not None]
    names = [f"q_data_type_{path}" for path in paths]
    return {getattr(metadata, name) for name in names if hasattr(metadata, name)}
