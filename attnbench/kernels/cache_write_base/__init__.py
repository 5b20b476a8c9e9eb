"""What the backends of cache-write share: the guarded pool, the slots, what is written and read."""
