"""Backends of the family prefill-trtllm: prompts over a paged cache, quantised or not."""
