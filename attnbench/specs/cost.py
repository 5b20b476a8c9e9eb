"""Useful work of a case, term by term: the only source of FLOP and bytes.

One multiply-add is 2 FLOP; the exponentials of the softmax are not counted. Bytes are what any
implementation must move: each input read once, each output written once, KV of each request once.
Scope layer writes the new tokens to the cache: they are inputs and outputs, not read from it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from attnbench.specs.batch import Request
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.specs.sparse import gathered_keys, selected_pairs

ELEMENT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}
NVFP4_BYTES = 1 / 2 + 1 / 16  # with a byte of scale for every 16 elements
SLOT_BYTES = 8  # an int64 slot of a slot mapping
FP8_DS_MLA_TILE = 128  # elements of fp8_ds_mla that share a scale


@dataclass(frozen=True, slots=True)
class Cost:
    """Useful FLOP and bytes of one call, as sums of named terms."""

    flop_terms: dict[str, float]
    byte_terms: dict[str, float]

    @property
    def flops(self) -> float:
        """All terms together, FLOP."""
        return sum(self.flop_terms.values())

    @property
    def bytes(self) -> float:
        """All terms together, bytes."""
        return sum(self.byte_terms.values())

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            _added(self.flop_terms, other.flop_terms), _added(self.byte_terms, other.byte_terms)
        )


def causal_pairs(request: Request, window: int | None = None) -> int:
    """Query-key pairs under a causal mask aligned bottom right, diagonal included: exact.

    Under a window a query sees at most that many keys, its own among them.
    """
    pairs = request.q_len * (2 * request.kv_len - request.q_len + 1) // 2
    if window is None or window >= request.kv_len:
        return pairs
    # Keys left of the window: most for the last query, one fewer for each query before it.
    most = request.kv_len - window
    first = max(0, most - request.q_len)
    return pairs - (most * (most + 1) - first * (first + 1)) // 2


def seen_kv_len(request: Request, window: int | None) -> int:
    """Keys that any of the request's queries sees."""
    if window is None:
        return request.kv_len
    return min(request.kv_len, request.q_len + window - 1)


def kv_element_bytes(case: Case) -> int:
    """Bytes of a cached element; auto is the case's dtype."""
    return ELEMENT_BYTES[case.dtype if case.kv_cache_dtype == "auto" else case.kv_cache_dtype]


def query_element_bytes(case: Case) -> int:
    """Bytes of an element of q; auto is the case's dtype."""
    return ELEMENT_BYTES[case.dtype if case.query_dtype == "auto" else case.query_dtype]


def output_element_bytes(case: Case) -> float:
    """Bytes of an element of the output with its part of a scale; auto is the case's dtype."""
    if case.output_dtype == "nvfp4":
        return NVFP4_BYTES
    return ELEMENT_BYTES[case.dtype if case.output_dtype == "auto" else case.output_dtype]


def latent_row_bytes(case: Case) -> int:
    """Bytes of one token in an MLA cache: of DeepSeek's 1152 in bf16, 576 in fp8.

    In fp8_ds_mla 656: 512 fp8, 4 fp32 scales, and 64 of RoPE in bf16.
    """
    shape = case.shape
    assert isinstance(shape, MlaShape)
    if case.kv_cache_dtype == "fp8_ds_mla":
        scales = shape.kv_lora_rank // FP8_DS_MLA_TILE
        return shape.kv_lora_rank + 4 * scales + 2 * shape.qk_rope_head_dim
    return shape.latent_dim * kv_element_bytes(case)


def latent_cost(case: Case, num_decode: int) -> Cost:
    """Both paths of MLA, decode of the first `num_decode` requests; shared weights count once."""
    shape, requests = case.shape, case.batch.requests
    assert isinstance(shape, MlaShape)
    both = _absorbed(case, requests[:num_decode]) + _up_projected(case, requests[num_decode:])
    if case.scope == "kernel":
        return both
    both += write_cost(case, num_decode)
    expanded = shape.num_q_heads * (shape.qk_nope_head_dim + shape.v_head_dim)
    weights = shape.kv_lora_rank * expanded * ELEMENT_BYTES[case.dtype]
    return both + Cost({}, {"w_uk and w_uv": weights})


def attention_cost(case: Case, num_decode: int) -> Cost:
    """Attention over heads; decode and prefill need the same. Scope layer adds the write."""
    shape = case.shape
    assert isinstance(shape, AttnShape)
    pairs, tokens, kv_tokens = _sums(case.batch.requests, case.window)
    write = Cost({}, {})
    if case.scope == "layer":
        write, kv_tokens = write_cost(case, num_decode), kv_tokens - tokens
    ends = tokens * shape.num_q_heads * shape.head_dim
    products = 2 * shape.num_q_heads * pairs * shape.head_dim
    return (
        Cost(
            {"q k^T": products, "p v": products},
            {
                "q": ends * query_element_bytes(case),
                "kv": kv_tokens * cached_row_bytes(case),
                "output": ends * output_element_bytes(case),
            },
        )
        + write
    )


def _absorbed(case: Case, requests: tuple[Request, ...]) -> Cost:
    """MLA decode: one latent KV head of rank + RoPE elements; values are the rank's alone."""
    shape = case.shape
    assert isinstance(shape, MlaShape)
    pairs, tokens, _ = _sums(requests)
    read: dict[str, float] = {"latent kv": _rows_read(case, requests) * latent_row_bytes(case)}
    if (topk := case.index_topk) is not None:
        pairs = sum(selected_pairs(request, topk) for request in requests)
        read["indices"] = 4 * tokens * topk
    heads, e = shape.num_q_heads, ELEMENT_BYTES[case.dtype]
    attention = Cost(
        {
            "q k^T": 2 * heads * pairs * shape.latent_dim,
            "p v": 2 * heads * pairs * shape.kv_lora_rank,
        },
        read,
    )
    if case.scope == "kernel" or not requests:
        ends = shape.latent_dim * _absorbed_query_bytes(case) + shape.kv_lora_rank * e
        return attention + Cost({}, {"q and output": tokens * heads * ends})
    weights = heads * shape.kv_lora_rank
    return attention + Cost(
        {
            "q w_uk": 2 * tokens * weights * shape.qk_nope_head_dim,
            "w_uv": 2 * tokens * weights * shape.v_head_dim,
        },
        {"q and output": tokens * heads * (shape.qk_head_dim + shape.v_head_dim) * e},
    )


def _absorbed_query_bytes(case: Case) -> int:
    """Of an element: over a cache in plain fp8 a kernel may take queries in fp8, as vLLM's do."""
    plain = case.kv_cache_dtype in ("fp8", "fp8_e4m3")
    return 1 if plain else ELEMENT_BYTES[case.dtype]


def _rows_read(case: Case, requests: tuple[Request, ...]) -> float:
    """Rows of the cache that must be read; at scope layer new tokens are inputs of the call."""
    topk, rows = case.index_topk, 0.0
    for request in requests:
        selected: float = request.kv_len
        if topk is not None:
            selected = gathered_keys(request, topk, case.topk_pattern)
        rows += max(0, selected - request.q_len) if case.scope == "layer" else selected
    return rows


def _up_projected(case: Case, requests: tuple[Request, ...]) -> Cost:
    """MLA prefill: ordinary heads of nope + RoPE elements, made from the latents at scope layer."""
    shape = case.shape
    assert isinstance(shape, MlaShape)
    pairs, tokens, kv_tokens = _sums(requests)
    heads, e = shape.num_q_heads, ELEMENT_BYTES[case.dtype]
    attention = Cost(
        {
            "q k^T": 2 * heads * pairs * shape.qk_head_dim,
            "p v": 2 * heads * pairs * shape.v_head_dim,
        },
        {"q and output": tokens * heads * (shape.qk_head_dim + shape.v_head_dim) * e},
    )
    expanded = heads * (shape.qk_nope_head_dim + shape.v_head_dim)
    if case.scope == "kernel" or not requests:
        kv = kv_tokens * (expanded + heads * shape.qk_rope_head_dim) * e
        return attention + Cost({}, {"kv": kv})
    return attention + Cost(
        {"kv up": 2 * kv_tokens * shape.kv_lora_rank * expanded},
        {"latent kv": _rows_read(case, requests) * latent_row_bytes(case)},
    )


def write_cost(case: Case, num_decode: int) -> Cost:
    """New values read in the model's dtype, written in the cache's; a slot read for each token.

    Hot inputs are in the L2: reading them moves no memory. Padding of a CUDA graph moves nothing
    and is not useful work.
    """
    tokens = case.batch.num_tokens
    terms: dict[str, float] = {} if case.inputs == "hot" else {"new": new_bytes(case)}
    written = {"written": tokens * cached_row_bytes(case), "slots": tokens * SLOT_BYTES}
    return Cost({}, terms | written)


def new_bytes(case: Case) -> int:
    """Bytes of the new values of all tokens, in the model's dtype."""
    return case.batch.num_tokens * cached_elements(case) * ELEMENT_BYTES[case.dtype]


def cached_elements(case: Case) -> int:
    """Elements that one token brings into one layer's cache."""
    if isinstance(case.shape, MlaShape):
        return case.shape.latent_dim
    return 2 * case.shape.num_kv_heads * case.shape.head_dim


def cached_row_bytes(case: Case) -> int:
    """Bytes of one token in one layer's cache."""
    if isinstance(case.shape, MlaShape):
        return latent_row_bytes(case)
    return cached_elements(case) * kv_element_bytes(case)


def _sums(requests: Iterable[Request], window: int | None = None) -> tuple[int, int, int]:
    """Pairs, new tokens and seen KV tokens of the requests together."""
    listed = list(requests)
    pairs = sum(causal_pairs(r, window) for r in listed)
    return pairs, sum(r.q_len for r in listed), sum(seen_kv_len(r, window) for r in listed)


def _added(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
