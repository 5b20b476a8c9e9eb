"""Backends of the family attn: causal self-attention over a KV cache; one file per backend."""
