"""vLLM's backend classes by enum name, and vLLM's own reasons why one cannot serve a case."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.kernels.base import Refused
from attnbench.kernels.vllm.startup import import_vllm
from attnbench.provenance.machine import Machine
from attnbench.reasons import first_line, with_type

if TYPE_CHECKING:
    import torch
    from vllm.v1.attention.backend import AttentionBackend

USUAL_BLOCK_SIZE = 16  # tokens per page, vLLM's default where the backend takes it


class Unavailable(Exception):
    """This vLLM does not have the backend class or cannot import it; the message says which."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration that a backend may or may not support; field names are vLLM's."""

    head_size: int
    dtype: "torch.dtype"
    kv_cache_dtype: str
    block_size: int | None = None
    use_mla: bool = False
    has_sink: bool = False
    use_sparse: bool = False
    has_sliding_window: bool = False


def backend_class(name: str) -> "type[AttentionBackend]":
    """The class of an enum name. Raises Unavailable with the reason."""
    import_vllm()
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    if name not in AttentionBackendEnum.__members__:
        raise Unavailable(f"is not in this vLLM, whose registry has no {name}")
    try:
        found: type[AttentionBackend] = AttentionBackendEnum[name].get_class()
    except Exception as error:  # the import may compile, allocate and raise anything
        raise Unavailable(f"cannot be imported from this vLLM: {with_type(error)}") from error
    return found


def complaints(cls: "type[AttentionBackend]", asked: Configuration, machine: Machine) -> list[str]:
    """The backend's reasons against a configuration, in its words; empty if it supports it.

    Several predicates read the current VllmConfig, so call `activate` first.
    """
    from vllm.platforms.interface import DeviceCapability

    assert machine.capability is not None
    given: dict[str, Any] = {
        "head_size": asked.head_size,
        "dtype": asked.dtype,
        "kv_cache_dtype": asked.kv_cache_dtype,
        "block_size": asked.block_size,
        "use_mla": asked.use_mla,
        "has_sink": asked.has_sink,
        "use_sparse": asked.use_sparse,
        "has_sliding_window": asked.has_sliding_window,
        "use_mm_prefix": False,
        "use_per_head_quant_scales": False,
        "device_capability": DeviceCapability(*machine.capability),
        "attn_type": "decoder",
    }
    known = inspect.signature(cls.validate_configuration).parameters
    try:
        return list(cls.validate_configuration(**{n: v for n, v in given.items() if n in known}))
    except Exception as error:  # noqa: BLE001 - a predicate may import another platform's parts
        return [with_type(error)]


@contextmanager
def refusals_of(cls: "type[AttentionBackend]") -> Iterator[None]:
    """Around vLLM's constructors: some backends find out only there that they cannot serve a case.

    Raises Refused in vLLM's words.
    """
    try:
        yield
    except (NotImplementedError, ImportError, ValueError) as error:
        raise Refused(f"vLLM's {cls.get_name()} says: {first_line(error)}") from error


def kernel_block_sizes(cls: "type[AttentionBackend]") -> list[tuple[int, bool]]:
    """The page sizes its kernels take: (tokens per page, whether any multiple will do)."""
    found = cls.get_supported_kernel_block_sizes()
    return [(size, False) if isinstance(size, int) else (size.base, True) for size in found]


def block_size(cls: "type[AttentionBackend]", asked: int | None, usual: int) -> int | None:
    """Tokens per page: those asked for, else `usual`, else the backend's smallest.

    None if the backend's kernels do not take the size asked for.
    """
    sizes = kernel_block_sizes(cls)
    for wanted in (asked,) if asked is not None else (usual, *sorted(size for size, _ in sizes)):
        if any(wanted == size or (multiple and wanted % size == 0) for size, multiple in sizes):
            return wanted
    return None
