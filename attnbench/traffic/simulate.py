"""Continuous batching as vLLM's scheduler does it: decodes first, prefills in chunks.

First come, first served. Decodes are scheduled first; then the prompt that was cut continues, then
waiting requests are admitted while sequences, tokens and KV blocks allow. A request is admitted if
all of its prompt fits in the free blocks (scheduler_reserve_full_isl). Where blocks run out, the
request admitted last loses its own; it is computed again, its output too, as far as the prefix
cache has lost it. What is cached is context without work; without hash ids it takes blocks as if it
were not shared.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnbench.errors import UsageError
from attnbench.traffic.limits import BLOCK, ServerLimits, blocks
from attnbench.traffic.prefix_cache import PrefixCache
from attnbench.traffic.requests import Floats, Ints, Requests
from attnbench.traffic.running import Running
from attnbench.traffic.schedule import Schedule, Work
from attnbench.traffic.server import Server
from attnbench.traffic.spans import Spans

_NO_WORK = Work(np.zeros(1), np.zeros((1, 3)))
_MOST_AT_ONCE = 512  # decode steps
MOST_STEPS = 30_000_000  # reducing them takes some 250 bytes each


@dataclass(frozen=True, slots=True)
class Served:
    """The steps, when each begins, and how often a request lost its blocks."""

    schedule: Schedule
    starts: Floats  # seconds [steps]
    preemptions: int
    cached: int  # tokens of prompts that were in the prefix cache


def simulate(requests: Requests, limits: ServerLimits, server: Server, seed: int = 0) -> Served:
    """Serve all requests to their end; the seed decides which speculative tokens are accepted.

    Raises UsageError for a request that the KV cache cannot hold, and for over MOST_STEPS steps.
    """
    longest = int((requests.prompt + requests.output).max()) + limits.spec_tokens
    if longest > (held := limits.kv_tokens // BLOCK * BLOCK):
        raise UsageError(
            f"--kv-tokens {limits.kv_tokens} cannot hold a request of {longest} tokens; accepted "
            f"are values from {blocks(longest) * BLOCK}, a larger --tp, or a limit that leaves "
            f"such requests out, e.g. --max-model-len {max(1, held - limits.spec_tokens)}"
        )
    scheduler = _Scheduler(requests, limits, server, seed)
    while scheduler.is_busy:
        scheduler.advance()
        if scheduler.step > MOST_STEPS:
            raise UsageError(
                f"{len(requests)} requests take over {MOST_STEPS} steps, too many for memory; give "
                "fewer requests, or let more run at once, e.g. --rate 20"
            )
    starts = np.concatenate(scheduler.starts)
    schedule = scheduler.spans.schedule(len(starts))
    return Served(schedule, starts, scheduler.preemptions, scheduler.cached)


@dataclass(slots=True)
class _Prompt:
    """A prompt that is computed in chunks, and gets blocks as it is."""

    request: int
    computed: int
    goal: int


class _Scheduler:
    """The state between two steps."""

    def __init__(self, requests: Requests, limits: ServerLimits, server: Server, seed: int) -> None:
        self.requests, self.limits, self.server = requests, limits, server
        self.draw = np.random.default_rng(seed)
        self.arrival: list[float] = requests.arrival.tolist()
        self.clock, self.last, self.step, self.preemptions = 0.0, 1e-3, 0, 0
        self.starts: list[Floats] = []
        self.spans = Spans()
        self.running = Running(self.spans)  # decodes, by admission
        self.prompt: _Prompt | None = None  # admitted last, not computed to its end
        self.left = requests.output.copy()  # tokens to generate
        self.preempted: deque[int] = deque()
        self.arrived = 0  # requests before this one were admitted once
        self.capacity = limits.kv_tokens // BLOCK
        self.chunks: list[tuple[int, int]] = []  # of the next step: new tokens, tokens in all
        self.cache = PrefixCache(requests)
        self.cached = 0  # tokens of prompts that were found there

    @property
    def is_busy(self) -> bool:
        waiting = self.preempted or self.arrived < len(self.arrival)
        return bool(waiting or self.prompt or len(self.running))

    def advance(self) -> None:
        """One step, or several of the same decodes; without work, wait for a request."""
        before = self.preemptions
        self._make_room()
        decodes = len(self.running)
        ended = self._chunks(before)
        if not decodes and not self.chunks:
            self.clock = self.arrival[self.arrived]
            return
        settled = self.preemptions == before and not self.chunks
        alone = settled and not self.limits.spec_tokens
        steps = self._pass(self._seconds(self._most_steps() if alone else 1, decodes))
        if self.preempted or self.requests.hash_ids:
            self.cache.shrink(self.capacity - self._needed(steps, ended))
        if decodes:
            self._generate(steps)
        self.step += steps
        self._join(ended)

    def _pass(self, seconds: Floats) -> int:
        """Let steps pass until a request arrives that may be admitted; returns their number."""
        ends = self.clock + seconds.cumsum()
        steps = len(ends)
        if self._head() is None and self.arrived < len(self.arrival):
            steps = min(steps, 1 + int(ends.searchsorted(self.arrival[self.arrived])))
        self.starts.append(np.concatenate([[self.clock], ends[: steps - 1]]))
        self.clock, self.last = float(ends[steps - 1]), float(seconds[steps - 1])
        return steps

    def _head(self) -> int | None:
        """The request to be admitted next, if it has arrived."""
        if self.preempted:
            return self.preempted[0]
        at = self.arrived
        return at if at < len(self.arrival) and self.arrival[at] <= self.clock else None

    def _needed(self, steps: int = 1, ended: Sequence[_Prompt] = ()) -> int:
        """Blocks of all admitted requests after so many steps, with those of `ended` prompts."""
        grown = self.running.kv + (steps + self.limits.spec_tokens)
        prompts = sum(blocks(each.goal) for each in ended)
        prompts += blocks(self.prompt.computed) if self.prompt else 0
        return int((-(-grown // BLOCK)).sum()) + prompts - self.cache.shared

    def _make_room(self) -> None:
        """Preempt the requests admitted last until the decodes have blocks."""
        while self._needed() > self.capacity:
            self._preempt()

    def _preempt(self) -> None:
        """Take the blocks of the request admitted last."""
        if self.prompt:
            request, tokens, self.prompt = self.prompt.request, self.prompt.computed, None
        else:
            request, tokens = self.running.drop_last(self.step)
        self.cache.release(request, tokens)
        self.preempted.appendleft(request)
        self.preemptions += 1

    def _chunks(self, before: int) -> list[_Prompt]:
        """Schedule the chunks of this step; returns the prompts that end with it.

        A step admits nothing if it has preempted more than the `before` ones.
        """
        budget = self.limits.max_num_batched_tokens
        budget -= len(self.running) * (1 + self.limits.spec_tokens)
        self.chunks = []
        ended: list[_Prompt] = []
        while budget:
            if self.prompt is None and self.preemptions == before:
                self.prompt = self._admit(len(self.running) + len(ended), ended)
            if (prompt := self.prompt) is None:
                break
            q = min(budget, prompt.goal - prompt.computed)
            grown = blocks(prompt.computed + q) - blocks(prompt.computed)
            if not ended and self._needed() + grown > self.capacity:
                self._preempt()
                break
            prompt.computed += q
            budget -= q
            self.chunks.append((q, prompt.computed))
            self.spans.add_chunk(prompt.request, self.step, q, prompt.computed)
            if prompt.computed == prompt.goal:
                ended.append(prompt)
                self.prompt = None
        return ended

    def _admit(self, admitted: int, ended: list[_Prompt]) -> _Prompt | None:
        head = self._head()
        if head is None or admitted >= self.limits.most_running:
            return None
        goal = int(self.requests.prompt[head] + self.requests.output[head] - self.left[head])
        free = self.capacity - self._needed(ended=ended)
        if blocks(goal) - self.cache.held(head) > free:
            return None
        self.cache.shrink(free)
        cached = max(int(self.requests.cached[head]), self.cache.admit(head, goal))
        if self.preempted:
            self.preempted.popleft()
        else:
            self.arrived += 1
            self.cached += cached
        return _Prompt(head, cached, goal)

    def _most_steps(self) -> int:
        """Steps until a decode ends or the blocks run out, and few past the next arrival."""
        most = min(_MOST_AT_ONCE, int(self.left[self.running.ids].min()))
        if self._head() is None and self.arrived < len(self.arrival):
            until = (self.arrival[self.arrived] - self.clock) / self.last
            most = min(most, 2 + int(min(until, _MOST_AT_ONCE)))
        if self._needed(most) <= self.capacity:
            return most
        # As many as fit; one does, since room was made.
        return bisect_right(range(1, most), self.capacity, key=self._needed)

    def _seconds(self, steps: int, decodes: int) -> Floats:
        """Seconds of each of the next steps."""
        q = 1 + self.limits.spec_tokens
        kv = int(self.running.kv.sum()) + decodes * q
        pairs = q * kv - decodes * (q * (q - 1) // 2)
        first = np.array([[pairs, decodes * q, kv]], dtype=np.float64)
        growth = np.array([decodes * q, 0.0, decodes])
        decode = Work(np.full(1, decodes), first + np.arange(steps)[:, None] * growth)
        return self.server.step_seconds(decode, self._chunk_sums() if self.chunks else _NO_WORK)

    def _chunk_sums(self) -> Work:
        """The prefill chunks of the next step."""
        sums = [(q * kv - q * (q - 1) // 2, q, kv) for q, kv in self.chunks]
        listed = np.array(sums, dtype=np.float64).sum(axis=0, keepdims=True)
        return Work(np.full(1, len(sums)), listed)

    def _generate(self, steps: int) -> None:
        """Tokens of the decodes; those that have all of theirs leave."""
        ids, spec = self.running.ids, self.limits.spec_tokens
        count: Ints = np.full(len(ids), steps)
        if spec:
            accepted = self.draw.random((len(ids), spec)) < self.limits.acceptance
            count = np.minimum(1 + accepted.cumprod(axis=1).sum(axis=1), self.left[ids])
        self.left[ids] -= count
        ended = self.left[ids] == 0
        kv = self.running.grow(self.step, steps, 1 + spec, count, ended)
        for request, tokens in zip(ids[ended].tolist(), kv, strict=True):
            self.cache.release(request, tokens)

    def _join(self, ended: list[_Prompt]) -> None:
        """The end of a prompt is its first new token; more are decoded."""
        for prompt in ended:
            self.left[prompt.request] -= 1
            if not self.left[prompt.request]:
                self.cache.release(prompt.request, prompt.goal)
        self.running.join([(p.request, p.goal) for p in ended if self.left[p.request]], self.step)
