"""Multi-head latent attention (DeepSeek)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import get_args

from attnbench.errors import UsageError
from attnbench.families.family import Family
from attnbench.families.options import Common, KvCacheOptions
from attnbench.options.kinds import Whole, one_of
from attnbench.options.option import flag, one, several, shared
from attnbench.specs.case import Scope, TopkPattern, Value
from attnbench.specs.cost import latent_cost
from attnbench.specs.models import MLA_MODELS
from attnbench.specs.shape import MlaShape
from attnbench.specs.sparse import PATTERN_ALIASES, PATTERNS


@dataclass(frozen=True, kw_only=True)
class MlaOptions(KvCacheOptions):
    """The options of `attnbench mla` that say what is measured."""

    threshold: tuple[int, ...] = several(
        Whole(),
        "--thresholds",
        metavar="N...",
        heading="Selection",
        knob=True,
        suite=("reorder_batch_threshold",),
        help="Requests of at most N new tokens take the decode path, the others prefill.  "
        "[default: the backend's]",
    )
    num_splits: tuple[int, ...] = several(
        Whole(),
        "--num-splits",
        metavar="N...",
        heading="Selection",
        knob=True,
        suite=("num_kv_splits", "num_splits"),
        help="Number of KV splits in decode; for FlashAttention the maximum.  "
        "[default: the backend's choice]",
    )
    compare_auto: bool = flag(
        "--compare-auto",
        heading="Selection",
        help="With --num-splits, also measure the backend's own choice and show its regret.",
    )
    prefill_backend: tuple[str, ...] = several(
        one_of("fa2", "fa3", "fa4", "flashinfer", "cudnn", "trtllm", "tokenspeed"),
        "--prefill-backends",
        "--prefill-backend",
        metavar="fa2|fa3|...",
        heading="Selection",
        knob=True,
        suite=("prefill_backend",),
        help="Kernels that vLLM's prefill path must use.  [default: its own choice]",
    )
    force_mqa: bool = flag(
        "--force-mqa",
        heading="Selection",
        knob=True,
        suite=("sparse_mla_force_mqa",),
        help="Sparse backends attend to the selected keys in every request; vLLM from 0.30 sends "
        "prompts that select all their keys to dense attention.",
    )
    index_topk: tuple[int, ...] = several(
        Whole(),
        "--index-topk",
        metavar="K...",
        heading="Data",
        help="Sparse attention: keys that each token selects.  "
        "[default: all; 2048 for sparse backends]",
    )
    topk_pattern: tuple[TopkPattern, ...] = several(
        one_of(*PATTERNS, aliases=PATTERN_ALIASES),
        "--topk-pattern",
        metavar="random|window|prefix...",
        heading="Data",
        help="Which keys: random ones, the last, or the first.  [default: random]",
    )
    scope: Scope | None = one(
        one_of(*get_args(Scope)),
        "--scope",
        heading="Selection",
        help="kernel: the backend's forward; layer: with the W_UK and W_UV products and the write "
        "of the new latents.  [default: layer if decode and prefill are mixed, else kernel]",
    )
    max_model_len: tuple[int | None, ...] = shared(Common, "max_model_len")
    unpadded: bool = shared(Common, "unpadded")
    model: str = one(
        one_of(*MLA_MODELS),
        "--model",
        default="deepseek-v3",
        metavar="NAME",
        heading="Shape",
        help=f"Heads and dims of {', '.join(MLA_MODELS)}; the options below override it.",
    )
    num_q_heads: int | None = one(Whole(), "--num-q-heads", metavar="N", heading="Shape")
    kv_lora_rank: int | None = one(Whole(), "--kv-lora-rank", metavar="N", heading="Shape")
    qk_nope_head_dim: int | None = one(Whole(), "--qk-nope-head-dim", metavar="N", heading="Shape")
    qk_rope_head_dim: int | None = one(Whole(), "--qk-rope-head-dim", metavar="N", heading="Shape")
    v_head_dim: int | None = one(Whole(), "--v-head-dim", metavar="N", heading="Shape")
    tp: int = shared(Common, "tp")
    pool_gib: tuple[float, ...] = shared(Common, "pool_gib")

    def shape(self) -> MlaShape:
        """The model's shape, with the given dims."""
        dims = {each.name: getattr(self, each.name) for each in fields(MlaShape)}
        return MLA_MODELS[self.model].sharded(self.tp, **dims)

    def served(self) -> dict[str, Value]:
        """The model's longest sequence."""
        return {"max_model_len": MLA_MODELS[self.model].longest}

    def knobs(self) -> dict[str, Sequence[Value | None]]:
        """With the backend's own number of splits for --compare-auto."""
        if not self.compare_auto:
            return super().knobs()
        if not self.num_splits:
            raise UsageError(
                "--compare-auto compares a backend's own choice with --num-splits; give some, e.g. "
                "--num-splits 1 2 4 --compare-auto"
            )
        return super().knobs() | {"num_splits": (*self.num_splits, None)}


MLA = Family(
    name="mla",
    help="""Benchmark multi-head latent attention (DeepSeek) backends.

    \b
    attnbench mla                                   all that can run here
    attnbench mla --backend flashmla --thresholds 1 4 16
    attnbench mla --backend flashattn_mla --num-splits 1 2 4 8 --compare-auto
    attnbench mla --model deepseek-v3 --tp 8 --batch-specs {1..64:x2}q1kv4k
    """,
    options=MlaOptions,
    cost=latent_cost,
    batches={
        "cuda": "q1k 32q1kv1k 32q1kv4k 2q1k_32q1kv1k",
        "cpu": "q64 4q1kv256 q64_4q1kv256",
    },
    knob_batches={
        "threshold": {
            "cuda": "32q1kv1k 16q4kv1k 16q16kv1k 8q64kv1k 8q1kv1k_4q16kv1k",
            "cpu": "4q1kv256 4q4kv256 2q16kv256 4q1kv256_2q8kv256",
        },
        "num_splits": {"cuda": "1q1kv8k 8q1kv8k 32q1kv4k 128q1kv1k", "cpu": "1q1kv256"},
        "prefill_backend": {"cuda": "q2k 4q1k 2q1kv4k", "cpu": "q64"},
    },
    two_paths=True,
)
