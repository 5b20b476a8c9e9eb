"""Backends of the family cache-write: new tokens into a paged cache; one file per backend."""
