"""The graph in which vLLM runs a batch of decodes of one token."""

from attnbench.specs.batch import Batch
from attnbench.traffic.limits import ServerLimits

_LARGEST = 512  # vLLM's default


def decode_graphs(limits: ServerLimits) -> list[int]:
    """Requests of the graphs that vLLM captures by default for decodes of one token (0.25).

    VllmConfig captures up to twice as many, but those of more requests than run hold no decodes. A
    server that speculates has graphs for decodes of more tokens alone.
    """
    if limits.spec_tokens:
        return []
    largest = min(limits.max_num_seqs, _LARGEST)
    sizes = {1, 2, 4, *range(8, 256, 8), *range(256, _LARGEST + 1, 16)}
    if limits.max_num_batched_tokens <= _LARGEST:
        sizes.add(limits.max_num_batched_tokens)
    return sorted(size for size in sizes if size <= largest)


def padded_to(batch: Batch, sizes: list[int]) -> int | None:
    """The requests that a graph of decodes of one token has; None for any other batch."""
    if batch.max_q_len > 1:
        return None
    return min((size for size in sizes if size >= len(batch)), default=None)
