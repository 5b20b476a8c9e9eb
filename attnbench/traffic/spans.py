"""Spans as a simulation finds them."""

from collections.abc import Iterable

import numpy as np

from attnbench.traffic.requests import Ints
from attnbench.traffic.schedule import Schedule


class Spans:
    """A growing list of spans; `schedule` joins them."""

    def __init__(self) -> None:
        self._chunks: list[tuple[int, int, int, int, int]] = []
        self._decodes: list[Ints] = [np.empty((0, 5), dtype=np.int64)]

    def add_chunk(self, request: int, step: int, q: int, kv: int) -> None:
        """A chunk of a prompt: `q` new tokens of `kv`."""
        self._chunks.append((request, step, 1, q, kv))

    def add_decodes(self, request: Ints, first: Ints, end: int, q: int, kv: Ints) -> None:
        """Decodes from step `first` up to `end`, with `q` new tokens in each, `kv` in the first."""
        columns = np.empty((len(request), 5), dtype=np.int64)
        columns[:, 0], columns[:, 1], columns[:, 2] = request, first, end - first
        columns[:, 3], columns[:, 4] = q, kv
        self._decodes.append(columns[columns[:, 2] > 0])

    def schedule(self, num_steps: int) -> Schedule:
        """All of them."""
        decodes = np.concatenate(self._decodes)
        chunks = np.array(self._chunks, dtype=np.int64).reshape(-1, 5)
        request, first, steps, q, kv = np.concatenate([decodes, chunks]).T
        is_decode = np.arange(len(request)) < len(decodes)
        return Schedule(num_steps, request, first, steps, q, kv, is_decode)


def as_column(values: Iterable[int]) -> Ints:
    """The numbers as an array, int64 also if there are none."""
    return np.array(list(values), dtype=np.int64)
