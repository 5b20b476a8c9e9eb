"""Attention of multi-head, grouped-query and multi-query models over a paged KV cache."""

from dataclasses import dataclass
from typing import get_args

from attnbench.families.family import Family
from attnbench.families.options import Common, KvCacheOptions
from attnbench.options.kinds import Number, Whole, one_of
from attnbench.options.option import flag, one, several, shared
from attnbench.specs.case import Layout, Scope, Value
from attnbench.specs.cost import attention_cost
from attnbench.specs.models import ATTN_MODELS
from attnbench.specs.shape import AttnShape


@dataclass(frozen=True, kw_only=True)
class AttnOptions(KvCacheOptions):
    """The options of `attnbench attn` that say what is measured."""

    scope: Scope | None = one(
        one_of(*get_args(Scope)),
        "--scope",
        heading="Selection",
        help="layer adds the write of the new keys and values to the cache, and quantising queries "
        "for one in fp8.  [default: kernel]",
    )
    sdpa_backend: tuple[str, ...] = several(
        one_of("cudnn", "flash", "efficient", "math"),
        "--sdpa-backend",
        metavar="cudnn|flash|...",
        heading="Selection",
        knob=True,
        help="Kernel that PyTorch's SDPA must use.  [default: its own choice]",
    )
    flash_version: tuple[int, ...] = several(
        one_of(2, 3, 4),
        "--flash-version",
        metavar="2|3|4...",
        heading="Selection",
        knob=True,
        help="Version of FlashAttention that vLLM must use.  [default: its own choice]",
    )
    num_splits: tuple[int, ...] = several(
        Whole(),
        "--num-splits",
        metavar="N...",
        heading="Selection",
        knob=True,
        suite=("num_kv_splits", "num_splits"),
        help="Maximum number of KV splits of a FlashAttention 3 decode.  [default: vLLM's]",
    )
    decode_kernel: tuple[str, ...] = several(
        one_of("served", "native", "xqa", "trtllm"),
        "--decode-kernel",
        metavar="served|native|...",
        heading="Selection",
        knob=True,
        help="Decode kernel of vLLM's FlashInfer: a stock server's choice, "
        "FlashInfer's own, XQA or trtllm-gen.  [default: served]",
    )
    mixed_windows: bool = flag(
        "--mixed-windows",
        heading="Selection",
        knob=True,
        help="The model's layers have several windows, so FlashAttention 3 schedules in each "
        "call.  [default: as the model has it]",
    )
    max_model_len: tuple[int | None, ...] = shared(Common, "max_model_len")
    unpadded: bool = shared(Common, "unpadded")
    model: str = one(
        one_of(*ATTN_MODELS),
        "--model",
        default="llama3-8b",
        metavar="NAME",
        heading="Shape",
        help=f"Heads and head dim of {', '.join(ATTN_MODELS)}; the options below override it.",
    )
    num_q_heads: int | None = one(Whole(), "--num-q-heads", metavar="N", heading="Shape")
    num_kv_heads: int | None = one(Whole(), "--num-kv-heads", metavar="N", heading="Shape")
    head_dim: int | None = one(Whole(), "--head-dim", metavar="N", heading="Shape")
    tp: int = shared(Common, "tp")
    layout: tuple[Layout, ...] = shared(Common, "layout")
    pool_gib: tuple[float, ...] = shared(Common, "pool_gib")
    window: tuple[int, ...] = several(
        Whole(),
        "--window",
        metavar="N...",
        heading="Data",
        help="Sliding window: a query sees its last N keys.  [default: all]",
    )
    softcap: tuple[float, ...] = several(
        Number(),
        "--softcap",
        metavar="C...",
        heading="Data",
        help="Cap scores to C * tanh(scores / C).  [default: none]",
    )
    sinks: bool = flag("--sinks", heading="Data", help="A learned sink logit for each query head.")

    def shape(self) -> AttnShape:
        """The model's shape, with the given dims."""
        dims = {n: getattr(self, n) for n in ("num_q_heads", "num_kv_heads", "head_dim")}
        return ATTN_MODELS[self.model].sharded(self.tp, **dims)

    def served(self) -> dict[str, Value]:
        """The model's longest sequence, and whether its windows differ."""
        model = ATTN_MODELS[self.model]
        mixed = {"mixed_windows": True} if model.mixed_windows else {}
        return {"max_model_len": model.longest, "decode_kernel": "served", **mixed}


ATTN = Family(
    name="attn",
    help="""Benchmark attention backends over batch specs.

    \b
    attnbench attn                                  all that can run here
    attnbench attn --batch-specs q2k 8q1kv1k        chosen batches
    attnbench attn --backend sdpa --sdpa-backend cudnn flash
    """,
    options=AttnOptions,
    cost=attention_cost,
    batches={
        "cuda": "q2k 8q1kv1k 64q1kv4k 16q4kv1k 2q2k_32q1kv1k",
        "cpu": "q512 8q1kv1k 2q256_8q1kv1k",
    },
)
