"""Steps of a scheduler, stored as spans: what one request does in consecutive steps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from attnbench.specs.batch import Batch, Request
from attnbench.traffic.requests import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Work:
    """What attention works on, by step, as float64 of whole numbers."""

    requests: Floats  # [steps]
    sums: Floats  # [steps, 3]: pairs of queries and the keys they see, new tokens, tokens in all

    @property
    def tokens(self) -> Floats:
        """New tokens [steps]."""
        return self.sums[:, 1]

    @property
    def kv_tokens(self) -> Floats:
        """Tokens in all, the new ones included [steps]."""
        return self.sums[:, 2]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Spans as columns; within a span of several steps `kv` grows by one a step."""

    num_steps: int
    request: Ints  # its place in the trace
    first: Ints  # step
    steps: Ints
    q: Ints  # new tokens in each of its steps
    kv: Ints  # tokens in all in its first step
    is_decode: Bools

    @classmethod
    def of_batches(cls, batches: Iterable[Sequence[tuple[int, int]]]) -> Self:
        """One step for each batch of (new, total) tokens; those with one new token decode."""
        lengths = [np.array(batch, dtype=np.int64) for batch in batches]
        first = np.repeat(np.arange(len(lengths)), [len(each) for each in lengths])
        q, kv = np.concatenate(lengths).T
        ids = np.arange(len(q), dtype=np.int64)
        return cls(len(lengths), ids, first, np.ones_like(ids), q, kv, q == 1)

    def work(self, *, decode: bool) -> Work:
        """The work of all decodes, or of all prefill chunks."""
        chosen = self.is_decode == decode
        first, q, kv = self.first[chosen], self.q[chosen], self.kv[chosen]
        end = first + self.steps[chosen]

        def by_step(values: Ints) -> Floats:
            size = self.num_steps + 1
            starts = np.bincount(first, weights=values, minlength=size)
            return np.cumsum(starts - np.bincount(end, weights=values, minlength=size))[:-1]

        # In step s a span has kv = (its first kv - its first step) + s.
        now, count, tokens = np.arange(self.num_steps), by_step(np.ones_like(q)), by_step(q)
        growing = np.minimum(q, 1) * (self.steps[chosen] > 1)
        kv_tokens = by_step(kv - growing * first) + now * by_step(growing)
        fixed = by_step(q * (kv - growing * first) - q * (q - 1) // 2)
        pairs = fixed + now * by_step(q * growing)
        return Work(count, np.stack([pairs, tokens, kv_tokens], axis=1))

    def longest(self) -> Floats:
        """Tokens of the longest sequence [steps]."""
        found = np.zeros(self.num_steps)
        last = self.first + self.steps
        for first, end, kv in zip(self.first, last, self.kv, strict=True):
            span = found[first:end]
            np.maximum(span, np.arange(kv, kv + end - first), out=span)
        return found

    def in_vllm_order(self) -> Bools:
        """Whether prefills with a context are shorter than those without one [steps].

        A batch lists requests by their new tokens; vLLM runs prefills with a context first.
        """
        extends = ~self.is_decode & (self.kv > self.q)
        begins = ~self.is_decode & (self.kv == self.q)
        most, least = np.zeros(self.num_steps), np.full(self.num_steps, np.inf)
        np.maximum.at(most, self.first[extends], self.q[extends])
        np.minimum.at(least, self.first[begins], self.q[begins])
        return np.asarray(most < least)

    def batch(self, step: int) -> Batch:
        """The batch of a step, with its real lengths, decodes first, as vLLM's runner has it.

        Requests with equally many new tokens are in the order of their admission, which is that
        of the trace.
        """
        there = np.flatnonzero((self.first <= step) & (step < self.first + self.steps))
        there = there[np.lexsort((self.request[there], self.q[there]))]
        kv = self.kv[there] + (step - self.first[there])
        lengths = zip(self.q[there].tolist(), kv.tolist(), strict=True)
        return Batch(tuple(Request(q, kv) for q, kv in lengths))
