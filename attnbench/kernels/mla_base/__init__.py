"""What every MLA kernel shares: the latent cache, its formats, the inputs and the reference."""
