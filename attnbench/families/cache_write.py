"""Writing new keys and values, or latents, into the paged KV cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from attnbench.errors import UsageError
from attnbench.families.family import Family
from attnbench.families.options import Common, KvCacheOptions, whole_numbers
from attnbench.note import Note
from attnbench.options.kinds import Choice, Listed, Parsed, Text, Whole, one_of
from attnbench.options.option import one, several, shared
from attnbench.specs.batch import Batch, Request
from attnbench.specs.budget import Budget, budget_of, duration
from attnbench.specs.case import Inputs, Layout, PageOrder, Value
from attnbench.specs.cost import write_cost
from attnbench.specs.models import ATTN_MODELS, MLA_MODELS, MODELS, write_shape
from attnbench.specs.shape import AttnShape, Shape


def token_batches(texts: Sequence[str], note: Note) -> tuple[Batch, ...]:
    """For each number of tokens a batch of one request that writes them."""
    return tuple(Batch((Request(count, count),)) for count in whole_numbers(texts, note))


def _tokens(batch: object) -> str:
    assert isinstance(batch, Batch)
    return str(batch.num_tokens)


@dataclass(frozen=True, kw_only=True)
class CacheWriteOptions(KvCacheOptions):
    """The options of `attnbench cache-write` that say what is measured."""

    backend: tuple[str, ...] = several(
        Text(),
        "--implementation",
        "--backend",
        "--backends",
        metavar="NAME...",
        heading="Selection",
        help="Implementations by name, or all that can run here.  [default: all]",
    )
    batch: tuple[Batch, ...] = several(
        Listed(token_batches, _tokens),
        "--num-tokens",
        metavar="N...",
        heading="Selection",
        help="New tokens per call: numbers or sweeps such as 1..64k:x4.  "
        "[default: 1..64k:x2 on a GPU, fewer on a CPU]",
    )
    kind: str | None = one(
        one_of("kv", "mla"),
        "--kind",
        heading="Shape",
        help="Keys and values of heads, or the latents of MLA.  [default: the model's, else kv]",
    )
    model: str | None = one(
        one_of(*MODELS),
        "--model",
        metavar="NAME",
        heading="Shape",
        help=f"KV heads and head dim of {', '.join(ATTN_MODELS)}, or the latent of "
        f"{', '.join(MLA_MODELS)}; the options below override it.  "
        "[default: llama3-8b, or deepseek-v3 for mla]",
    )
    num_kv_heads: int | None = one(
        Whole(), "--num-heads", metavar="N", heading="Shape", help="KV heads."
    )
    head_dim: int | None = one(Whole(), "--head-size", metavar="N", heading="Shape")
    tp: int = shared(Common, "tp")
    layout: tuple[Layout, ...] = shared(Common, "layout")
    num_blocks: tuple[int, ...] = several(
        Whole(),
        "--num-blocks",
        metavar="N...",
        heading="Data",
        knob=True,
        help="Pages of the cache.  [default: enough for the sets, and 4 times the L2 on a GPU]",
    )
    page_order: tuple[PageOrder, ...] = several(
        Choice({"random": "scattered", "contiguous": "contiguous"}),
        "--slots",
        metavar="random|contiguous...",
        heading="Data",
        help="Where tokens are written: anywhere in the cache, as in decode, or one after the "
        "other, as in prefill.  [default: random]",
    )
    inputs: tuple[Inputs, ...] = several(
        one_of(*get_args(Inputs)),
        "--inputs",
        metavar="hot|cold...",
        heading="Data",
        help="Whether a write finds the new tokens in the L2, as RoPE leaves them, or in memory. "
        "The cache's pages are cold either way.  [default: hot]",
    )
    itl: float | None = one(
        Parsed(duration),
        "--itl",
        metavar="TIME",
        heading="Output",
        help="Inter-token latency such as 10ms: also show the share of it taken by the writes of "
        "all layers of --model.",
    )

    def shape(self) -> Shape:
        """The shape of a write of that kind into a layer."""
        return write_shape(self.kind, self.model, self.tp, self.num_kv_heads, self.head_dim)

    @classmethod
    def for_shape(cls, shape: Shape) -> dict[str, Value]:
        """KV heads without query heads, or the model that has these latents."""
        if isinstance(shape, AttnShape):
            return {"num_kv_heads": shape.num_kv_heads, "head_dim": shape.head_dim}
        for name, model in MLA_MODELS.items():
            if model.shape.for_cache_write() == shape:
                return {"model": name}
        raise UsageError(f"no model of `attnbench cache-write` has the latents of {shape}")

    def fields(self) -> dict[str, Sequence[Value]]:
        """Keys and values are written in both layouts."""
        fields = self.usual() | super().fields()
        if not isinstance(self.shape(), AttnShape):
            return fields
        return {"layout": ("NHD", "HND")} | fields

    def usual(self) -> dict[str, Sequence[Value]]:
        """RoPE has just written the new keys."""
        return {"inputs": ("hot",)}

    def budget(self) -> Budget | None:
        """The budget of the model's layers, if a latency is given."""
        return budget_of(self.model, self.itl)


CACHE_WRITE = Family(
    name="cache-write",
    help="""Benchmark writing new keys and values into the paged KV cache.

    Slots are unique; written tokens are read back and compared, and the rest of the cache must
    be unchanged. Conclusions with intervals follow the table.

    \b
    attnbench cache-write                           NHD and HND over a token sweep
    attnbench cache-write --layout HND --mode cudagraph
    attnbench cache-write --num-tokens 1..4k:x4 --kv-cache-dtype auto fp8
    attnbench cache-write --kind mla --kv-cache-dtype auto fp8_ds_mla
    attnbench cache-write --model llama3-70b --tp 8 --itl 10ms
    """,
    options=CacheWriteOptions,
    cost=write_cost,
    batches={
        "cuda": " ".join(f"q{2**power}" for power in range(17)),
        "cpu": "q1 q16 q64 q256 q1k q4k",
    },
    some_batches="q1 q16 q64 q256 q1k q4k q16k",
    contrasted={
        "backend": "cuda",
        "layout": "NHD",
        "kv_cache_dtype": "auto",
        "block_size": None,
        "page_order": "scattered",
        "inputs": "hot",
        "timer": "eager",
    },
    counts_tokens=True,
    unused_dims=frozenset({"num_q_heads", "qk_nope_head_dim", "v_head_dim"}),
)
