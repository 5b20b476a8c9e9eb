"""Bytes of the tensors that a case on vLLM's layers holds, foreseen without importing vLLM.

Where vLLM would choose the page size, its usual one stands in.
"""

from attnbench.kernels.inputs import least_pages
from attnbench.kernels.memory import (
    INT32,
    INT64,
    Bytes,
    ends_bytes,
    needle_bytes,
    pool_pages,
    table_bytes,
)
from attnbench.kernels.mla_base.memory import head_bytes, latent_bytes
from attnbench.kernels.vllm.config import rounded_up
from attnbench.kernels.vllm.served import max_model_len_of
from attnbench.specs.case import Case
from attnbench.specs.cost import ELEMENT_BYTES, cached_elements, cached_row_bytes
from attnbench.specs.shape import MlaShape

LARGEST_GRAPH = 512  # requests, of vLLM's captured sizes
MOST_CONTEXT = 64 * 1024  # tokens of prompts' context that vLLM gathers at a time


def attention_bytes(case: Case, sets: int, page: int) -> Bytes:
    """Of VllmPrepared: each set is a layer with a cache of its own, and they share the tables.

    A pool as large as asked for is there however few sets share it.
    """
    tokens, e = case.batch.num_tokens, ELEMENT_BYTES[case.dtype]
    pools = max(1, sets)
    pages = max(sets * (1 + pool_pages(case, page, 1, pools)), least_pages(case, page))
    held = ends_bytes(case, sets)
    if case.scope == "kernel" and case.kv_cache_dtype.startswith("fp8"):
        held["q"] *= 1 + 1 / e  # in fp8 too
    return held | {
        "kv": pages * page * cached_row_bytes(case),
        "new tokens": sets * tokens * (cached_elements(case) * e + INT64),
        "page tables": table_bytes(case, page, 1, pools) + block_table_bytes(case, page),
        "needles": needle_bytes(case, sets, page),
    }


def mla_bytes(case: Case, num_decode: int, sets: int, page: int, *, split_queries: bool) -> Bytes:
    """Of VllmMlaPrepared: new tokens also in parts, and metadata of its own for each set."""
    held = latent_bytes(case, num_decode, sets, page)
    held["new tokens"] *= 2
    held["page tables"] += sets * block_table_bytes(case, page)
    if case.scope == "kernel":
        prefills = case.batch.requests[num_decode:]
        held["ready heads"] = sets * head_bytes(prefills, case, rope=False)
        held["q"] *= 1 + split_queries
    return held


def block_table_bytes(case: Case, page: int) -> int:
    """Of a table with room for the server's longest sequence."""
    return INT32 * len(case.batch) * -(-model_length(case) // page)


def model_length(case: Case) -> int:
    """The server's longest sequence; a bare kernel's batch is given little more than it needs."""
    return max_model_len_of(case) or rounded_up(case.batch.max_kv_len)


def context_bytes(case: Case, page: int, requests: int) -> int:
    """Of the workspace into which vLLM's MLA gathers the context of prompts."""
    shape = case.shape
    assert isinstance(shape, MlaShape)
    room = min(max(8 * model_length(case), 4 * requests * page), MOST_CONTEXT)
    return max(room, requests * page) * shape.latent_dim * ELEMENT_BYTES[case.dtype]


def is_captured(case: Case) -> bool:
    """Whether a server replays the batch from a graph."""
    fits = case.batch.max_q_len == 1 and len(case.batch) <= LARGEST_GRAPH
    return fits and max_model_len_of(case) is not None
