"""Requests of a trace, by arrival."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from attnbench.traffic.limits import BLOCK

MOST_SECONDS = 1e15  # of a trace: beyond it adding a step's time changes nothing
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class TracedRequest(NamedTuple):
    """One request; lengths in tokens, the cached ones are leading tokens of the prompt."""

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Requests:
    """Columns of equal length, in order of arrival."""

    arrival: Floats  # seconds from the first
    prompt: Ints
    output: Ints
    cached: Ints  # whole blocks, and less than the prompt: at least one token is computed

    @classmethod
    def of(cls, rows: Iterable[TracedRequest]) -> Self:
        """The rows sorted by arrival; equal arrivals keep their order."""
        columns = np.array(list(rows), dtype=np.float64).reshape(-1, len(TracedRequest._fields))
        columns = columns[np.argsort(columns[:, 0], kind="stable")]
        arrival, prompt, output, cached = columns.T
        return cls(
            arrival=arrival - arrival[:1],
            prompt=prompt.astype(np.int64),
            output=output.astype(np.int64),
            cached=np.minimum(cached, prompt - 1).astype(np.int64) // BLOCK * BLOCK,
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
            arrival - arrival[:1], self.prompt[kept], self.output[kept], self.cached[kept]
        )

    def at_rate(self, rate: float) -> Self:
        """The same pattern of arrivals at another mean rate; even gaps if all came at once."""
        if self.arrival[-1]:
            return replace(self, arrival=self.arrival * (self.rate / rate))
        return replace(self, arrival=np.arange(len(self)) / rate)
