"""Bytes of the tensors that every MLA kernel's inputs and outputs take, foreseen."""

from collections.abc import Iterable

from attnbench.kernels.memory import INT32, INT64, Bytes, needle_bytes, pool_pages, table_bytes
from attnbench.specs.batch import Request
from attnbench.specs.case import Case
from attnbench.specs.cost import ELEMENT_BYTES, latent_row_bytes
from attnbench.specs.shape import MlaShape


def latent_bytes(case: Case, num_decode: int, sets: int, block_size: int) -> Bytes:
    """Those of `MlaPrepared`: the pool, the new tokens, both ends by path, weights and indices."""
    shape, e, batch = case.shape, ELEMENT_BYTES[case.dtype], case.batch
    assert isinstance(shape, MlaShape)
    pages = pool_pages(case, block_size, sets)
    queries, outputs = _widths(case, num_decode)
    weights = shape.kv_lora_rank * (shape.qk_nope_head_dim + shape.v_head_dim)
    layers = sets if case.scope == "layer" else 1
    return {
        "q": sets * shape.num_q_heads * queries * e,
        "output": sets * shape.num_q_heads * outputs * e,
        "latent kv": pages * block_size * latent_row_bytes(case),
        "new tokens": sets * batch.num_tokens * (shape.latent_dim * e + INT64),
        "weights": layers * shape.num_q_heads * weights * e,
        "indices": INT32 * sets * batch.num_tokens * (case.index_topk or 0),
        "page tables": table_bytes(case, block_size, sets),
        "needles": needle_bytes(case, sets, block_size),
    }


def head_bytes(requests: Iterable[Request], case: Case, *, rope: bool) -> int:
    """Keys and values of ordinary heads for all tokens of the requests, in one set."""
    shape = case.shape
    assert isinstance(shape, MlaShape)
    width = shape.qk_nope_head_dim + shape.v_head_dim + rope * shape.qk_rope_head_dim
    tokens = sum(request.kv_len for request in requests)
    return tokens * shape.num_q_heads * width * ELEMENT_BYTES[case.dtype]


def _widths(case: Case, num_decode: int) -> tuple[int, int]:
    """Elements of queries and of outputs of one head, over all tokens of a set."""
    shape, requests = case.shape, case.batch.requests
    assert isinstance(shape, MlaShape)
    decodes = sum(request.q_len for request in requests[:num_decode])
    prefills = case.batch.num_tokens - decodes
    if case.scope == "layer":
        tokens = decodes + prefills
        return tokens * shape.qk_head_dim, tokens * shape.v_head_dim
    return (
        decodes * shape.latent_dim + prefills * shape.qk_head_dim,
        decodes * shape.kv_lora_rank + prefills * shape.v_head_dim,
    )
