"""The shapes of one layer's attention, and models by name."""

from dataclasses import asdict, dataclass, fields

from attnbench.errors import UsageError


def _require_positive(shape: "AttnShape | MlaShape") -> None:
    for name, value in asdict(shape).items():
        if value < 1:
            raise UsageError(
                f"--{name.replace('_', '-')} {value}: a whole number from 1 is needed, e.g. 128"
            )


def _require_divisible(num_q_heads: int, tp: int) -> None:
    if tp < 1 or num_q_heads % tp:
        raise UsageError(
            f"--tp {tp} does not divide {num_q_heads} query heads; accepted are its divisors, "
            "e.g. --tp 1"
        )


@dataclass(frozen=True, slots=True)
class AttnShape:
    """Heads of multi-head, grouped-query or multi-query attention; head_dim in elements."""

    num_q_heads: int = 32
    num_kv_heads: int = 8
    head_dim: int = 128

    def __post_init__(self) -> None:
        _require_positive(self)
        if self.num_q_heads % self.num_kv_heads:
            raise UsageError(
                f"--num-q-heads {self.num_q_heads} is not a multiple of --num-kv-heads "
                f"{self.num_kv_heads}: every KV head serves the same number of query heads, "
                "e.g. --num-q-heads 32 --num-kv-heads 8"
            )

    def sharded(self, tp: int) -> "AttnShape":
        """The shape on one of `tp` tensor-parallel ranks; each holds at least one KV head."""
        _require_divisible(self.num_q_heads, tp)
        return AttnShape(self.num_q_heads // tp, max(1, self.num_kv_heads // tp), self.head_dim)

    def for_cache_write(self) -> "AttnShape":
        """The shape of a KV write, which has no query heads: one shape, one case."""
        return AttnShape(self.num_kv_heads, self.num_kv_heads, self.head_dim)


@dataclass(frozen=True, slots=True)
class MlaShape:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434); dims in elements."""

    num_q_heads: int = 128
    kv_lora_rank: int = 512
    qk_nope_head_dim: int = 128
    qk_rope_head_dim: int = 64
    v_head_dim: int = 128

    def __post_init__(self) -> None:
        _require_positive(self)

    @property
    def latent_dim(self) -> int:
        """Elements of a cached token: the compressed KV and the shared RoPE key."""
        return self.kv_lora_rank + self.qk_rope_head_dim

    @property
    def qk_head_dim(self) -> int:
        """Elements of a query head before absorption."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    def sharded(self, tp: int) -> "MlaShape":
        """The shape on one of `tp` tensor-parallel ranks: its heads, and the whole latent."""
        _require_divisible(self.num_q_heads, tp)
        return MlaShape(**asdict(self) | {"num_q_heads": self.num_q_heads // tp})

    def for_cache_write(self) -> "MlaShape":
        """The shape of a latent's write, which has no heads: as absorbed attention sees it."""
        rank = self.kv_lora_rank
        return MlaShape(1, rank, rank, self.qk_rope_head_dim, rank)


Shape = AttnShape | MlaShape
DIMS = tuple(dict.fromkeys(f.name for kind in (AttnShape, MlaShape) for f in fields(kind)))

# Heads and dims of the published configurations.
ATTN_MODELS = {
    "llama3-8b": AttnShape(32, 8, 128),
    "llama3-70b": AttnShape(64, 8, 128),
    "llama3-405b": AttnShape(128, 8, 128),
    "qwen3-8b": AttnShape(32, 8, 128),
    "qwen3-32b": AttnShape(64, 8, 128),
    "gpt-oss-120b": AttnShape(64, 8, 64),
}
MLA_MODELS = {
    "deepseek-v2": MlaShape(128),
    "deepseek-v2-lite": MlaShape(16),
    "deepseek-v3": MlaShape(128),
    "kimi-k2": MlaShape(64),
    "glm-5": MlaShape(64, 512, 192, 64, 256),
}
# Layers that keep a KV cache, of the same configurations.
MODEL_LAYERS = {
    "llama3-8b": 32,
    "llama3-70b": 80,
    "llama3-405b": 126,
    "qwen3-8b": 36,
    "qwen3-32b": 64,
    "gpt-oss-120b": 36,
    "deepseek-v2": 60,
    "deepseek-v2-lite": 27,
    "deepseek-v3": 61,
    "kimi-k2": 61,
    "glm-5": 78,
}

# The longest sequence that a server of them allows by default, of the same
# configurations: max_position_embeddings, which already includes the scaling of RoPE. kimi-k2 is
# the release of September 2025; the first one had 131072.
MODEL_LENGTHS = {
    "llama3-8b": 131072,
    "llama3-70b": 131072,
    "llama3-405b": 131072,
    "qwen3-8b": 40960,
    "qwen3-32b": 40960,
    "gpt-oss-120b": 131072,
    "deepseek-v2": 163840,
    "deepseek-v2-lite": 163840,
    "deepseek-v3": 163840,
    "kimi-k2": 262144,
    "glm-5": 202752,
}
# Models whose layers do not all have the same sliding window.
MIXED_WINDOWS = frozenset({"gpt-oss-120b"})
# Models whose indexer selects the keys that a token sees.
SPARSE_MODELS = frozenset({"glm-5"})


def attn_shape(model: str, tp: int, **dims: int | None) -> AttnShape:
    """A model's shape on one of `tp` ranks; dims that are not None override the model's."""
    return AttnShape(**asdict(ATTN_MODELS[model]) | _given(dims)).sharded(tp)


def mla_shape(model: str, tp: int, **dims: int | None) -> MlaShape:
    """A model's shape on one of `tp` ranks; dims that are not None override the model's."""
    return MlaShape(**asdict(MLA_MODELS[model]) | _given(dims)).sharded(tp)


def write_shape(
    kind: str | None, model: str | None, tp: int, num_heads: int | None, head_size: int | None
) -> Shape:
    """The shape of a cache write of that kind, kv or mla, for a layer of a model or by its dims.

    The kind defaults to the model's, else kv; the model to the first of the kind.
    """
    of_model = "mla" if model in MLA_MODELS else "kv"
    kind = kind or of_model
    if model is not None and kind != of_model:
        named = ", ".join(MLA_MODELS if kind == "mla" else ATTN_MODELS)
        raise UsageError(
            f"--model {model} is of --kind {of_model}; accepted with --kind {kind} are {named}, "
            f"e.g. --model {model} without --kind"
        )
    if kind == "mla":
        if num_heads is not None or head_size is not None:
            raise UsageError(
                "--num-heads and --head-size do not apply to latents, whose size is the model's; "
                "leave them out, e.g. --kind mla --model deepseek-v3"
            )
        return mla_shape(model or "deepseek-v3", tp).for_cache_write()
    dims = {"num_q_heads": num_heads, "num_kv_heads": num_heads, "head_dim": head_size}
    return attn_shape(model or "llama3-8b", tp, **dims).for_cache_write()


def _given(dims: dict[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in dims.items() if value is not None}
