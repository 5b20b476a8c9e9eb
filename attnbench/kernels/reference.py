"""Attention in fp32, one sampled row at a time: what every output is held against."""

import bisect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from attnbench.kernels.base import Prepared
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch


def attend(
    query: "torch.Tensor", keys: "torch.Tensor", values: "torch.Tensor", scale: float
) -> "torch.Tensor":
    """One query [d] over keys [n, d] and values [n, d_v], in fp32: [d_v]."""
    weights = ((keys.float() @ query.float()) * scale).softmax(dim=0)
    return weights @ values.float()


class AttentionPrepared(Prepared):
    """A prepared attention case: its output is [tokens, heads, d_v], a row a token and head."""

    def __init__(self, batch: Batch, num_heads: int, block_size: int) -> None:
        self.batch = batch
        self.num_heads = num_heads
        self._ends = list(accumulate(request.q_len for request in batch))
        self.critical_rows = _critical_rows(batch, num_heads, block_size)
        self.outputs: list[torch.Tensor] = []

    @abstractmethod
    def attended(
        self, index: int, request: int, token: int, head: int, seen: int
    ) -> "torch.Tensor":
        """The fp32 output of the batch's new token `token`, which sees `seen` keys: [d_v]."""

    def poison(self, index: int) -> None:
        self.outputs[index].fill_(float("nan"))

    def output(self, index: int) -> "torch.Tensor":
        return self.outputs[index].flatten(0, 1)

    def expected(self, index: int, rows: "torch.Tensor") -> "torch.Tensor":
        import torch

        found = []
        for row in rows.tolist():
            token, head = divmod(row, self.num_heads)
            request = bisect.bisect_right(self._ends, token)
            seen = self.batch.requests[request].kv_len - (self._ends[request] - 1 - token)
            found.append(self.attended(index, request, token, head, seen))
        return torch.stack(found)


def rotating(call: Callable[[int], object], sets: int) -> list[Callable[[], object]]:
    """`call` bound to each set, as launches without arguments."""
    return [partial(call, index) for index in range(sets)]


def _critical_rows(batch: Batch, num_heads: int, block_size: int) -> Sequence[int]:
    """First and last token of each run of equal requests, and those beside page boundaries."""
    rows: list[int] = []
    token = 0
    for count, request in batch.groups():
        last_start = token + (count - 1) * request.q_len
        boundary = -request.context_len % block_size  # the first new token that opens a page
        within = {0, request.q_len - 1, boundary - 1, boundary}
        within = {offset for offset in within if 0 <= offset < request.q_len}
        for start in {token, last_start}:
            rows += [(start + o) * num_heads + head for o in within for head in (0, num_heads - 1)]
        token += count * request.q_len
    return sorted(set(rows))
