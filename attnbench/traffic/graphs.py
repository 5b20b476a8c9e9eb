"""The graph in which vLLM runs a batch of decodes."""

from attnbench.specs.batch import Batch
from attnbench.traffic.limits import ServerLimits

_LARGEST = 512  # vLLM's default


def captured_sizes(limits: ServerLimits) -> list[int]:
    """Tokens of the graphs that vLLM captures by default (VllmConfig, 0.25)."""
    largest = min(limits.max_num_seqs * (1 + limits.spec_tokens) * 2, _LARGEST)
    largest = min(limits.max_num_batched_tokens, largest)
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, _LARGEST + 1, 16)]
    if limits.max_num_batched_tokens <= largest:
        sizes.append(limits.max_num_batched_tokens)
    return sorted({size for size in sizes if size <= largest})


def padded_to(batch: Batch, sizes: list[int]) -> int | None:
    """The requests that a graph of decodes of one token has; None for any other batch."""
    if batch.max_q_len > 1:
        return None
    return min((size for size in sizes if size >= len(batch)), default=None)
