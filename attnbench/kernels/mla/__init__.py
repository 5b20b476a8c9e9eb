"""Backends of the family mla: multi-head latent attention; one file per backend."""
