"""The shapes of one layer's attention."""

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
