"""Requests of a trace, by arrival."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import compress
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from attnbench.traffic.limits import BLOCK

HASHED = 512  # tokens of a prompt for each of its hash ids
MOST_SECONDS = 1e15  # of a trace: beyond it adding a step's time changes nothing
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class TracedRequest(NamedTuple):
    """One request; lengths in tokens, the cached ones are leading tokens of the prompt.

    Prompts with equal leading hash ids share a prefix.
    """

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    hash_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Requests:
    """Columns of equal length, in order of arrival."""

    arrival: Floats  # seconds from the first
    prompt: Ints
    output: Ints
    cached: Ints  # whole blocks, and less than the prompt: at least one token is computed
    hash_ids: tuple[tuple[int, ...], ...] = ()  # of each; empty if no request has any

    @classmethod
    def of(cls, rows: Iterable[TracedRequest]) -> Self:
        """The rows sorted by arrival; equal arrivals keep their order."""
        listed = sorted(rows, key=lambda row: row.arrival_s)
        columns = np.array([row[:-1] for row in listed], dtype=np.float64)
        arrival, prompt, output, cached = columns.reshape(-1, 4).T
        hash_ids = tuple(row.hash_ids for row in listed)
        return cls(
            arrival=arrival - arrival[:1],
            prompt=prompt.astype(np.int64),
            output=output.astype(np.int64),
            cached=np.minimum(cached, prompt - 1).astype(np.int64) // BLOCK * BLOCK,
            hash_ids=hash_ids if any(hash_ids) else (),
        )

    def __len__(self) -> int:
        return len(self.arrival)

    @property
    def rate(self) -> float:
        """Mean arrivals per second; infinite if all arrive at once."""
        span = self.arrival[-1]
        return float((len(self) - 1) / span) if span else float("inf")

    def up_to(self, tokens: int) -> Self:
        """Those with at most so many tokens in all."""
        kept = self.prompt + self.output <= tokens
        arrival = self.arrival[kept]
        return type(self)(
            arrival=arrival - arrival[:1],
            prompt=self.prompt[kept],
            output=self.output[kept],
            cached=self.cached[kept],
            hash_ids=tuple(compress(self.hash_ids, kept)),
        )

    def at_rate(self, rate: float) -> Self:
        """The same pattern of arrivals at another mean rate; even gaps if all came at once."""
        if self.arrival[-1]:
            return replace(self, arrival=self.arrival * (self.rate / rate))
        return replace(self, arrival=np.arange(len(self)) / rate)
