"""Shared by the cache-write backends: the guarded pool, slots, inputs, and reading back."""
