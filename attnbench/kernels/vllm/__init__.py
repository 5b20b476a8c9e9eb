"""vLLM's API as several families need it; differences are found by feature, not by version."""
