"""FlashInfer's MLA kernels, driven directly: the paged decode and the ragged prefill."""
