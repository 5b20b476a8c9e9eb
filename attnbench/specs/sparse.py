"""The keys that sparse attention selects: the top k of each query, without replacement."""

from collections.abc import Mapping
from functools import cache
from typing import get_args

from attnbench.specs.batch import Request
from attnbench.specs.case import TopkPattern

PATTERNS: tuple[TopkPattern, ...] = get_args(TopkPattern)
# Ours by vLLM's name.
PATTERN_ALIASES: Mapping[str, TopkPattern] = {"sliding_window": "window"}


def pattern_named(spelling: str) -> TopkPattern | None:
    """The pattern by our name or vLLM's; None if it is unknown."""
    name = PATTERN_ALIASES.get(spelling, spelling)
    return next((ours for ours in PATTERNS if ours == name), None)


def selected_pairs(request: Request, topk: int) -> int:
    """Query-key pairs if each query meets `topk` of the keys it sees, or all if those are fewer."""
    first = request.context_len + 1  # keys that the first query sees
    few = max(0, min(request.kv_len, topk) - first + 1)  # queries that see at most k
    return few * (2 * first + few - 1) // 2 + (request.q_len - few) * topk


def gathered_keys(request: Request, topk: int, pattern: str) -> float:
    """Distinct keys that the request's queries select: the least that must be read.

    A kernel that shares nothing between queries reads a row for each of `selected_pairs`. For
    random keys it is the expected number: a key goes unread if all queries that see it miss it.
    """
    if pattern == "prefix":
        return min(topk, request.kv_len)
    if pattern == "window":
        return min(request.kv_len, request.q_len + topk - 1)
    return _distinct(request, topk)


@cache
def _distinct(request: Request, topk: int) -> float:
    unread, missed = 0.0, 1.0  # keys; the chance that the queries so far, from the last, miss one
    for seen in range(request.kv_len, request.context_len, -1):
        missed *= max(0.0, 1 - topk / seen)
        # The query that sees `seen` keys is the first to see its last key; the request's first
        # query is the first to see all of its keys.
        unread += missed * (seen if seen == request.context_len + 1 else 1)
    return request.kv_len - unread
