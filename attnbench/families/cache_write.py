"""Writing new keys and values, or latents, into the paged KV cache."""

from attnbench.families.family import Family
from attnbench.specs.cost import write_cost
from attnbench.specs.shape import AttnShape

CACHE_WRITE = Family(
    name="cache-write",
    shape=AttnShape().for_cache_write(),
    cost=write_cost,
    batches={
        "cuda": " ".join(f"q{2**power}" for power in range(17)),
        "cpu": "q1 q16 q64 q256 q1k q4k",
    },
    some_batches="q1 q16 q64 q256 q1k q4k q16k",
    layouts=("NHD", "HND"),
    contrasted={
        "backend": "cuda",
        "layout": "NHD",
        "kv_cache_dtype": "auto",
        "block_size": None,
        "page_order": "scattered",
        "timer": "eager",
    },
    counts_tokens=True,
    unused_dims=frozenset({"num_q_heads", "qk_nope_head_dim", "v_head_dim"}),
)
