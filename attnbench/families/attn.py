"""Attention of multi-head, grouped-query and multi-query models over a paged KV cache."""

from attnbench.families.family import Family
from attnbench.specs.cost import attention_cost
from attnbench.specs.shape import AttnShape

ATTN = Family(
    name="attn",
    shape=AttnShape(),
    cost=attention_cost,
    batches={
        "cuda": "q2k 8q1kv1k 64q1kv4k 16q4kv1k 2q2k_32q1kv1k",
        "cpu": "q512 8q1kv1k 2q256_8q1kv1k",
    },
)
