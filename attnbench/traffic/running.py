"""The requests that decode, by admission."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attnbench.traffic.requests import Ints
from attnbench.traffic.spans import Spans, as_column


class Running:
    """Columns of the decodes: request, tokens in the cache, and where the open span began."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self.ids = self.kv = self._first = self._kv_first = as_column(())

    def __len__(self) -> int:
        return len(self.ids)

    def join(self, requests: Sequence[tuple[int, int]], step: int) -> None:
        """Add (request, tokens in the cache) that decode from `step` on."""
        if not requests:
            return
        ids, kv = (as_column(each) for each in zip(*requests, strict=True))
        self.ids, self.kv = np.append(self.ids, ids), np.append(self.kv, kv)
        self._first = np.append(self._first, np.full(len(ids), step))
        self._kv_first = np.append(self._kv_first, kv + 1)

    def grow(
        self, step: int, steps: int, q: int, count: Ints, ended: NDArray[np.bool_]
    ) -> list[int]:
        """`steps` steps from `step` add `count` tokens to each; the ended ones leave.

        Returns the tokens of those that leave.
        Spans of several tokens a step are closed at once: their growth varies.
        """
        if q > 1:
            self._spans.add_decodes(self.ids, self._first, step + steps, q, self.kv + q)
        self.kv = self.kv + count
        if q > 1:
            self._first = np.full(len(self), step + steps)
        gone: list[int] = self.kv[ended].tolist()
        if gone:
            self._leave(ended, step + steps)
        return gone

    def drop_last(self, step: int) -> tuple[int, int]:
        """Take out the request admitted last; returns it and its tokens."""
        request, tokens = int(self.ids[-1]), int(self.kv[-1])
        self._leave(np.arange(len(self)) == len(self) - 1, step)
        return request, tokens

    def _leave(self, leaving: NDArray[np.bool_], step: int) -> None:
        """Close spans; one of no steps, which has been closed before, is not kept."""
        columns = self.ids[leaving], self._first[leaving], step, 1, self._kv_first[leaving]
        self._spans.add_decodes(*columns)
        stay = ~leaving
        self.ids, self.kv = self.ids[stay], self.kv[stay]
        self._first, self._kv_first = self._first[stay], self._kv_first[stay]
