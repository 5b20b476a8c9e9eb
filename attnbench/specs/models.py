"""Models by name: what of a published configuration attention depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from attnbench.errors import UsageError
from attnbench.specs.shape import AttnShape, MlaShape, Shape

S = TypeVar("S", AttnShape, MlaShape)


@dataclass(frozen=True, slots=True)
class Model(Generic[S]):
    """A layer's shape, the number of layers that keep a KV cache, and what a server derives."""

    shape: S
    layers: int
    # The longest sequence that a server allows by default: max_position_embeddings, which already
    # includes the scaling of RoPE.
    longest: int
    mixed_windows: bool = False  # whether its layers have several sliding windows
    selects_keys: bool = False  # whether an indexer selects the keys that a token sees

    def sharded(self, tp: int, **dims: int | None) -> S:
        """The shape on one of `tp` ranks; dims that are not None override the model's."""
        given = {name: value for name, value in dims.items() if value is not None}
        return replace(self.shape, **given).sharded(tp)


ATTN_MODELS = {
    "llama3-8b": Model(AttnShape(32, 8, 128), 32, 131072),
    "llama3-70b": Model(AttnShape(64, 8, 128), 80, 131072),
    "llama3-405b": Model(AttnShape(128, 8, 128), 126, 131072),
    "qwen3-8b": Model(AttnShape(32, 8, 128), 36, 40960),
    "qwen3-32b": Model(AttnShape(64, 8, 128), 64, 40960),
    "gpt-oss-120b": Model(AttnShape(64, 8, 64), 36, 131072, mixed_windows=True),
}
MLA_MODELS = {
    "deepseek-v2": Model(MlaShape(128), 60, 163840),
    "deepseek-v2-lite": Model(MlaShape(16), 27, 163840),
    "deepseek-v3": Model(MlaShape(128), 61, 163840),
    # The release of September 2025; the first one allowed 131072.
    "kimi-k2": Model(MlaShape(64), 61, 262144),
    "glm-5": Model(MlaShape(64, 512, 192, 64, 256), 78, 202752, selects_keys=True),
}
MODELS: Mapping[str, Model[AttnShape] | Model[MlaShape]] = {**ATTN_MODELS, **MLA_MODELS}


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
        return MLA_MODELS[model or "deepseek-v3"].sharded(tp).for_cache_write()
    dims = {"num_q_heads": num_heads, "num_kv_heads": num_heads, "head_dim": head_size}
    return ATTN_MODELS[model or "llama3-8b"].sharded(tp, **dims).for_cache_write()
