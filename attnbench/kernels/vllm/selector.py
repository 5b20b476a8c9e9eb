"""The backend that the installed vLLM takes when a user names none, by its own selector."""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attnbench.kernels.base import Refused
from attnbench.kernels.inputs import torch_dtype
from attnbench.kernels.vllm.config import LayerConfig, vllm_config
from attnbench.kernels.vllm.served import max_model_len_of
from attnbench.kernels.vllm.startup import activate, import_vllm
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape

if TYPE_CHECKING:
    from vllm.v1.attention.backend import AttentionBackend


def selected(case: Case) -> str:
    """The name in vLLM's registry of the backend it takes for the case, on the current GPU.

    Raises Refused in vLLM's words if it finds none.
    """
    import_vllm()
    from vllm.v1.attention import selector

    activate(vllm_config(_layer(case)))
    # Its key lacks dims that the answer depends on: a server has one model, a worker has several.
    selector._cached_get_attn_backend.cache_clear()
    known = inspect.signature(selector.get_attn_backend).parameters
    given = {name: value for name, value in _arguments(case).items() if name in known}
    try:
        found = selector.get_attn_backend(**given)
    except (AssertionError, ImportError, ValueError) as error:
        reasons = str(error).rpartition("Reasons: ")[2]
        raise Refused(f"vLLM's selector finds no backend for this case: {reasons}") from error
    return _registered_name(found)


def _arguments(case: Case) -> dict[str, Any]:
    """What vLLM's layer of the case gives its selector; a release may know fewer.

    A page size is not among them: the selector reads it from the configuration, and only if a user
    chose it.
    """
    asked: dict[str, Any] = {
        "dtype": torch_dtype(case.dtype),
        "kv_cache_dtype": case.kv_cache_dtype,
    }
    if isinstance(case.shape, MlaShape):
        return asked | {
            "head_size": case.shape.latent_dim,
            "use_mla": True,
            "use_sparse": case.index_topk is not None,
            "num_heads": case.shape.num_q_heads,
        }
    return asked | {
        "head_size": case.shape.head_dim,
        "use_mla": False,
        "has_sink": case.sinks,
        "use_mm_prefix": False,
        "use_per_head_quant_scales": False,
        "attn_type": "decoder",
        "has_sliding_window": case.window is not None,
    }


def _layer(case: Case) -> LayerConfig:
    model = () if case.index_topk is None else (("index_topk", case.index_topk),)
    return LayerConfig(
        shape=case.shape,
        dtype=case.dtype,
        batch=case.batch,
        block_size=case.block_size,
        max_model_len=max_model_len_of(case),
        kv_cache_dtype=case.kv_cache_dtype,
        model=model,
    )


def _registered_name(cls: "type[AttentionBackend]") -> str:
    """By the class's path: two entries may call themselves alike."""
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    path = f"{cls.__module__}.{cls.__qualname__}"
    members: Mapping[str, Any] = AttentionBackendEnum.__members__
    for name, member in members.items():
        if member.value == path:
            return name
    raise Refused(f"vLLM's selector takes {path}, which its registry does not name")
