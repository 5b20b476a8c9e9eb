"""Backends of the family cache-write: new keys and values into a paged cache; one file each."""
