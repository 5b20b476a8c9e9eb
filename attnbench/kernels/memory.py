"""Bytes of the tensors that a prepared case holds, foreseen before anything is allocated.

They are given by what the tensors hold. What a kernel allocates while it runs is not among them.
"""

from collections.abc import Iterable

from attnbench.kernels.aiming import has_needles
from attnbench.kernels.inputs import least_pages, pool_size
from attnbench.kernels.places import most_needles
from attnbench.specs.batch import Batch, Request
from attnbench.specs.case import Case
from attnbench.specs.cost import cached_row_bytes, output_element_bytes, query_element_bytes
from attnbench.specs.shape import AttnShape, MlaShape, Shape

Bytes = dict[str, float]
INT32, INT64, FP32 = 4, 8, 4
SIGNS = 4  # of needles: at even and at odd positions, as signs and at length 1


def pages_of(batch: Batch, block_size: int) -> int:
    """The pages that the requests own in one set."""
    return sum(-(-request.kv_len // block_size) for request in batch)


def pool_pages(case: Case, block_size: int, sets: int, pools: int = 1) -> int:
    """Pages of each of so many equal pools that hold the requests of so many sets."""
    least = least_pages(case, block_size, pools)
    return pool_size(sets * pages_of(case.batch, block_size), least)


def table_bytes(case: Case, block_size: int, sets: int, pools: int = 1) -> int:
    """Those of `page_tables`: the tables, as wide as the longest request, and the permutation."""
    entries = sets * len(case.batch) * -(-case.batch.max_kv_len // block_size)
    return INT32 * entries + INT64 * pool_pages(case, block_size, sets, pools)


def needle_bytes(case: Case, sets: int, block_size: int) -> int:
    """Where needles stand in each set, three lengths of each request, and the signs of needles."""
    if not has_needles(case):
        return 0
    where = INT64 * len(case.batch) * (sets * most_needles(case.batch, block_size) + 3)
    return where + SIGNS * FP32 * _key_elements(case.shape)


def _key_elements(shape: Shape) -> int:
    """Of all KV heads of a token."""
    return shape.latent_dim if isinstance(shape, MlaShape) else shape.num_kv_heads * shape.head_dim


def ends_bytes(case: Case, sets: int) -> Bytes:
    """Queries and outputs of standard attention."""
    assert isinstance(case.shape, AttnShape)
    elements = sets * case.batch.num_tokens * case.shape.num_q_heads * case.shape.head_dim
    return {
        "q": elements * query_element_bytes(case),
        "output": elements * output_element_bytes(case),
    }


def paged_bytes(case: Case, sets: int, block_size: int) -> Bytes:
    """Standard attention over one pool of pages, which holds all sets and what no request owns."""
    pages = pool_pages(case, block_size, sets)
    return ends_bytes(case, sets) | {
        "kv": pages * block_size * cached_row_bytes(case),
        "page tables": table_bytes(case, block_size, sets),
        "needles": needle_bytes(case, sets, block_size),
    }


def mask_bytes(requests: Iterable[Request]) -> int:
    """A mask for each kind of request, a byte for each pair of a query and a key."""
    return sum(request.q_len * request.kv_len for request in set(requests))
