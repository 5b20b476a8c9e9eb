"""A VllmConfig for one layer, from a local configuration file: no network and no weights."""

import json
import tempfile
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from attnbench.kernels.base import Refused
from attnbench.kernels.vllm.startup import import_vllm
from attnbench.specs.batch import Batch, Request
from attnbench.specs.dtypes import TORCH_NAMES
from attnbench.specs.shape import MlaShape, Shape

if TYPE_CHECKING:
    from vllm.config import ModelConfig, VllmConfig

ARCHITECTURE = "AttnBenchForCausalLM"
# vLLM's defaults on this class of GPU. They determine the sizes of captured graphs, and those the
# thresholds at which builders change kernels.
MAX_NUM_SEQS = 1024
MAX_NUM_BATCHED_TOKENS = 8192

ANY_BATCH = Batch((Request(1, 1),))
Fields = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """Everything that determines the configuration of a layer."""

    shape: Shape
    dtype: str
    batch: Batch
    block_size: int | None  # None where no user chose one
    max_model_len: int | None = None  # of the server; None for one just above the batch's
    kv_cache_dtype: str = "auto"
    graphs: bool = True  # graphs captured as in production; builders choose split counts by it
    # Fields of vLLM's attention_config, e.g. flash_attn_version; unknown ones are refused.
    attention: Fields = ()
    model: Fields = ()  # more of config.json: index_topk


@dataclass(frozen=True, slots=True)
class Limits:
    """What of a batch is in the configuration of its server."""

    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int

    @classmethod
    def of(cls, wanted: LayerConfig) -> Self:
        """vLLM's defaults, or as much as the batch needs."""
        batch = wanted.batch
        return cls(
            wanted.max_model_len or rounded_up(batch.max_kv_len),
            max(MAX_NUM_SEQS, len(batch)),
            max(MAX_NUM_BATCHED_TOKENS, batch.num_tokens),
        )


def vllm_config(wanted: LayerConfig) -> "VllmConfig":
    """A new configuration, without the layers of earlier cases.

    Raises Refused for a field of attention_config that this vLLM does not have.
    """
    import_vllm()
    made = _made(replace(wanted, batch=ANY_BATCH, max_model_len=None), Limits.of(wanted))
    return deepcopy(made, {id(made.model_config): made.model_config})


@lru_cache(maxsize=64)
def _made(wanted: LayerConfig, limits: Limits) -> "VllmConfig":
    """The configuration, to be copied: making one lists the plugins of all packages, 30 ms."""
    from vllm.config import (
        AttentionConfig,
        CacheConfig,
        CompilationConfig,
        CUDAGraphMode,
        ParallelConfig,
        SchedulerConfig,
        VllmConfig,
    )

    mode = CUDAGraphMode.FULL_AND_PIECEWISE if wanted.graphs else CUDAGraphMode.NONE
    _check_fields(AttentionConfig, wanted.attention)
    return VllmConfig(
        model_config=_model_config(wanted.shape, wanted.dtype, limits.max_model_len, wanted.model),
        cache_config=CacheConfig(
            **({} if wanted.block_size is None else {"block_size": wanted.block_size}),
            cache_dtype=wanted.kv_cache_dtype,
            enable_prefix_caching=False,
        ),
        parallel_config=ParallelConfig(),
        scheduler_config=SchedulerConfig(**asdict(limits), is_encoder_decoder=False),
        compilation_config=CompilationConfig(cudagraph_mode=mode),
        attention_config=AttentionConfig(**dict(wanted.attention)),
    )


def _check_fields(config: type, given: Fields) -> None:
    """Refuse unknown fields: vLLM ignores them, and a knob would silently do nothing."""
    known = {f.name for f in fields(config)} if is_dataclass(config) else set()
    for name, _ in given:
        if name not in known:
            raise Refused(f"needs attention_config.{name}, which this vLLM does not have")


def rounded_up(length: int) -> int:
    """The length to a power of two, so many cases share one model configuration."""
    return max(1024, 1 << (length - 1).bit_length())


@lru_cache(maxsize=32)
def _model_config(shape: Shape, dtype: str, max_model_len: int, more: Fields) -> "ModelConfig":
    from vllm.config import ModelConfig

    _register_architecture()
    with tempfile.TemporaryDirectory() as folder:
        described = _described(shape) | {
            "architectures": [ARCHITECTURE],
            "torch_dtype": TORCH_NAMES[dtype],
            "num_hidden_layers": 1,
            "vocab_size": 1024,
            "intermediate_size": 1024,
            "max_position_embeddings": max_model_len,
        }
        Path(folder, "config.json").write_text(json.dumps(described | dict(more)))
        return ModelConfig(
            model=folder,
            tokenizer=None,
            skip_tokenizer_init=True,
            dtype=TORCH_NAMES[dtype],
            max_model_len=max_model_len,
            trust_remote_code=False,
        )


def _described(shape: Shape) -> dict[str, Any]:
    """The true dims: vLLM takes head sizes only from here."""
    if isinstance(shape, MlaShape):
        dims = asdict(shape)
        heads = dims.pop("num_q_heads")
        return dims | {
            "model_type": "deepseek_v3",
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "hidden_size": 7168,
            "q_lora_rank": 1536,
            "moe_intermediate_size": 512,
            "first_k_dense_replace": 1,
        }
    return {
        "model_type": "llama",
        "num_attention_heads": shape.num_q_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "hidden_size": shape.num_q_heads * shape.head_dim,
    }


@cache
def _register_architecture() -> None:
    """A model class of our own: vLLM inspects a real one in a process that takes a minute."""
    from torch import nn
    from vllm.model_executor.models.registry import ModelRegistry

    class AttnBenchForCausalLM(nn.Module):  # type: ignore[misc]
        def __init__(self, *, vllm_config: object, prefix: str = "") -> None:
            super().__init__()

        def embed_input_ids(self, input_ids: object) -> None: ...

        def forward(self, input_ids: object, positions: object) -> None: ...

        def compute_logits(self, hidden_states: object) -> None: ...

    ModelRegistry.register_model(ARCHITECTURE, AttnBenchForCausalLM)
