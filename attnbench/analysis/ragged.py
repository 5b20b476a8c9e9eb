"""Batches of equal total work, by how the lengths of their requests are spread."""

from dataclasses import dataclass
from functools import lru_cache

from attnbench.specs.batch import Batch, format_size
from attnbench.specs.ragged import Spread, spread_of

MOST_REQUESTS = 4096  # of a batch that is recognised


@dataclass(frozen=True, slots=True)
class RaggedShape:
    """Requests of as many new tokens each, and the mean of their lengths."""

    count: int
    q_len: int
    mean: int  # kv_len

    def spec(self, spread: Spread | None = None) -> str:
        """The batch spec, of equal requests without a spread."""
        plain = f"{self.count}q{format_size(self.q_len)}kv{format_size(self.mean)}"
        return f"{plain}~{spread}" if spread else plain


@lru_cache(maxsize=4096)
def shape_of(batch: Batch) -> tuple[RaggedShape, Spread | None] | None:
    """The shape and the spread of a batch, None for equal requests; None for any other batch."""
    contexts = [request.context_len for request in batch]
    q_len, total = batch[0].q_len, sum(contexts)
    if len(batch) > MOST_REQUESTS or total % len(batch):
        return None
    if any(request.q_len != q_len for request in batch):
        return None
    found = spread_of(contexts)
    if not found:
        return None
    shape = RaggedShape(len(batch), q_len, q_len + total // len(batch))
    return shape, None if found == "uniform" else found
