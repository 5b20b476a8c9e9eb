"""vLLM's surface as the backends of several families need it, found by feature, not by version."""
