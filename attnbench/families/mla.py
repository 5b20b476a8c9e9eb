"""Multi-head latent attention, as of DeepSeek."""

from attnbench.families.family import Family
from attnbench.specs.cost import latent_cost
from attnbench.specs.shape import MlaShape

MLA = Family(
    name="mla",
    shape=MlaShape(),
    cost=latent_cost,
    batches={
        "cuda": "q1k 32q1kv1k 32q1kv4k 2q1k_32q1kv1k",
        "cpu": "q64 4q1kv256 q64_4q1kv256",
    },
    knob_batches={
        "threshold": {
            "cuda": "32q1kv1k 16q4kv1k 16q16kv1k 8q64kv1k 8q1kv1k_4q16kv1k",
            "cpu": "4q1kv256 4q4kv256 2q16kv256 4q1kv256_2q8kv256",
        },
        "num_splits": {"cuda": "1q1kv8k 8q1kv8k 32q1kv4k 128q1kv1k", "cpu": "1q1kv256"},
        "prefill_backend": {"cuda": "q2k 4q1k 2q1kv4k", "cpu": "q64"},
    },
    two_paths=True,
)
