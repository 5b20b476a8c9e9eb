"""Shared by all MLA kernels: the latent cache, its formats, the inputs and the reference."""
