"""Batches of requests: the records, their canonical text, their human form and their totals."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, groupby, repeat

from attnbench.note import Note
from attnbench.specs.grammar import MAX_REQUESTS, read_segments
from attnbench.specs.scanner import MAX_SIZE, BatchSpecError

__all__ = [
    "Batch",
    "BatchSpecError",
    "Kind",
    "Request",
    "format_batch_spec",
    "get_batch_stats",
    "parse_batch_spec",
]

SPEC_DECODE_MAX = 8  # most new tokens of a speculative decode, as in vLLM's suite


class Kind(StrEnum):
    """The kinds of requests, in the order in which a batch is described."""

    PREFILL = "prefill"
    EXTEND = "extend"
    SPECDECODE = "specdecode"
    DECODE = "decode"


@dataclass(frozen=True, slots=True)
class Request:
    """One sequence: `q_len` new tokens of `kv_len` tokens; 1 <= q_len <= kv_len.

    Raises BatchSpecError for other lengths.
    """

    q_len: int
    kv_len: int

    def __post_init__(self) -> None:
        if not 1 <= self.q_len <= self.kv_len <= MAX_SIZE:
            raise BatchSpecError(
                f"a request of q_len {self.q_len} and kv_len {self.kv_len}: kv_len counts the "
                f"new tokens too, so 1 <= q_len <= kv_len <= {MAX_SIZE} is needed, "
                "e.g. Request(q_len=1, kv_len=1024)"
            )

    @property
    def context_len(self) -> int:
        """Tokens already in the cache."""
        return self.kv_len - self.q_len

    @property
    def is_decode(self) -> bool:
        """One new token, with or without context."""
        return self.q_len == 1

    @property
    def is_prefill(self) -> bool:
        """Several new tokens and no context."""
        return 1 < self.q_len == self.kv_len

    @property
    def is_extend(self) -> bool:
        """Several new tokens after a context."""
        return 1 < self.q_len < self.kv_len

    def kind(self, spec_decode_max: int = SPEC_DECODE_MAX) -> Kind:
        """The one kind of the request; an extend of at most `spec_decode_max` is a spec-decode."""
        if self.is_decode:
            return Kind.DECODE
        if self.is_prefill:
            return Kind.PREFILL
        return Kind.SPECDECODE if self.q_len <= spec_decode_max else Kind.EXTEND

    def __str__(self) -> str:
        q = f"q{format_size(self.q_len)}"
        return q if self.kv_len == self.q_len else f"{q}kv{format_size(self.kv_len)}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests in the order given, 1 to MAX_REQUESTS; `str` is the canonical spec.

    Raises BatchSpecError for another number of requests.
    """

    requests: tuple[Request, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.requests) <= MAX_REQUESTS:
            raise BatchSpecError(
                f"a batch of {len(self.requests)} requests: 1 to {MAX_REQUESTS} are accepted"
            )

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, index: int) -> Request:
        return self.requests[index]

    def __str__(self) -> str:
        return "_".join(f"{_omit_one(count)}{request}" for count, request in self.groups())

    def groups(self) -> list[tuple[int, Request]]:
        """Equal neighbours as (count, request)."""
        return [(sum(1 for _ in equal), request) for request, equal in groupby(self.requests)]

    def in_execution_order(self) -> "Batch":
        """Stably sorted by q_len, so requests under any decode threshold come first."""
        return _repeat_each(sorted(self.groups(), key=lambda group: group[1].q_len))

    @property
    def num_tokens(self) -> int:
        """New tokens, the rows of Q."""
        return sum(request.q_len for request in self)

    @property
    def num_kv_tokens(self) -> int:
        """Tokens that attention reads, the new ones included."""
        return sum(request.kv_len for request in self)

    @property
    def max_q_len(self) -> int:
        """The largest number of new tokens of a request."""
        return max(request.q_len for request in self)

    @property
    def max_kv_len(self) -> int:
        """The longest sequence."""
        return max(request.kv_len for request in self)


def parse_batch_spec(text: str, note: Note | None = None) -> Batch:
    """The batch of a spec such as `2q2k_32q1kv1k`; specs/grammar.py has the grammar.

    `note` is called once, with the canonical spec, if a segment has an older spelling. Raises
    BatchSpecError, whose message points at the character.
    """
    segments = read_segments(text)
    batch = _repeat_each(
        (count, Request(q_len, kv_len)) for s in segments for count, q_len, kv_len in s.lengths()
    )
    forms = {segment.form for segment in segments}
    if note and forms != {"q"}:
        dropped = " (a chunk size changes nothing and is dropped)" if "chunk" in forms else ""
        note(f"'{text}' is an older spelling of '{batch}'{dropped}")
    return batch


def format_batch_spec(requests: Iterable[Request], spec_decode_max: int = SPEC_DECODE_MAX) -> str:
    """For people: `2 prefill (2x2k), 1 specdecode (1xq4s1k), 32 decode (32x1k)`.

    A prefill shows its length, a decode its kv_len, the others both as qLENsTOTAL. `requests` is
    a Batch or any sequence of requests.
    """
    counts: dict[Kind, Counter[str]] = {kind: Counter() for kind in Kind}
    for request in requests:
        kind = request.kind(spec_decode_max)
        counts[kind][_human_lengths(request)] += 1
    return ", ".join(
        f"{lengths.total()} {kind} ({', '.join(f'{n}x{text}' for text, n in lengths.items())})"
        for kind, lengths in counts.items()
        if lengths
    )


def get_batch_stats(
    requests: Iterable[Request], spec_decode_max: int = SPEC_DECODE_MAX
) -> dict[str, int | float]:
    """Counts and lengths in tokens; all 0 for no requests.

    total_tokens sums q_len, total_kv_cache sums kv_len; num_extend counts all extends, the
    num_specdecode of at most `spec_decode_max` new tokens among them.
    """
    requests = tuple(requests)
    q_lens = [request.q_len for request in requests]
    kv_lens = [request.kv_len for request in requests]
    total = len(requests)
    return {
        "total_requests": total,
        "num_decode": sum(request.is_decode for request in requests),
        "num_prefill": sum(request.is_prefill for request in requests),
        "num_extend": sum(request.is_extend for request in requests),
        "num_specdecode": sum(r.kind(spec_decode_max) is Kind.SPECDECODE for r in requests),
        "total_tokens": sum(q_lens),
        "total_kv_cache": sum(kv_lens),
        "max_q_len": max(q_lens, default=0),
        "max_kv_len": max(kv_lens, default=0),
        "avg_q_len": sum(q_lens) / total if total else 0.0,
        "avg_kv_len": sum(kv_lens) / total if total else 0.0,
    }


def _repeat_each(groups: Iterable[tuple[int, Request]]) -> Batch:
    """A batch whose equal requests are one object: a million take 8 MB."""
    return Batch(tuple(chain.from_iterable(repeat(request, n) for n, request in groups)))


def _human_lengths(request: Request) -> str:
    kv = format_size(request.kv_len)
    return f"q{format_size(request.q_len)}s{kv}" if request.is_extend else kv


def format_size(tokens: int) -> str:
    """A number of tokens as specs write it: 2048 is 2k."""
    return f"{tokens // 1024}k" if tokens and tokens % 1024 == 0 else str(tokens)


def _omit_one(count: int) -> str:
    return "" if count == 1 else str(count)
