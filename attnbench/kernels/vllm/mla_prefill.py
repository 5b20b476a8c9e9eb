"""The prefill backends of vLLM's MLA: how to select one, and which one runs."""

import importlib
from typing import Any

from attnbench.kernels.base import Refused
from attnbench.kernels.vllm.flash_versions import unsupported
from attnbench.provenance.machine import Machine

# By our name: vLLM's name and the version of FlashAttention.
PREFILLS: dict[str, tuple[str, int | None]] = {
    "fa2": ("FLASH_ATTN", 2),
    "fa3": ("FLASH_ATTN", 3),
    "fa4": ("FLASH_ATTN", 4),
    "flashinfer": ("FLASHINFER", None),
    "trtllm": ("TRTLLM_RAGGED", None),
    "tokenspeed": ("TOKENSPEED_MLA", None),
}
NAMES = (*PREFILLS, "cudnn")
SM100_ONLY = ("flashinfer", "trtllm", "tokenspeed")
GONE = "vLLM has no MLA prefill by cuDNN since 0.22"


def prefill_refusal(name: str, machine: Machine) -> str | None:
    """Why that prefill backend cannot run on this GPU; None if it can."""
    if name == "cudnn":
        return GONE
    major = None if machine.capability is None else machine.capability[0]
    this = f"this is {machine.sm} ({machine.name})"
    if name in SM100_ONLY and major != 10:
        return f"vLLM's MLA prefill by {name} needs SM100; {this}"
    if name == "fa3" and major != 9:
        return f"vLLM's MLA prefill by fa3 needs SM90; {this}"
    return None


def prefill_settings(name: object) -> dict[str, object]:
    """Fields of vLLM's attention_config that select a prefill backend; none for vLLM's choice."""
    if name is None:
        return {}
    member, version = PREFILLS[str(name)]
    try:
        registry = importlib.import_module("vllm.v1.attention.backends.mla.prefill")
    except ImportError as error:
        raise Refused("needs vLLM 0.22 or newer to choose an MLA prefill backend") from error
    if version is not None and (why := unsupported(version)):
        raise Refused(why)
    chosen = {"mla_prefill_backend": registry.MLAPrefillBackendEnum[member]}
    return chosen if version is None else chosen | {"flash_attn_version": version}


def prefill_that_runs(metadata: Any, asked: object) -> str:
    """The prefill that the metadata will run, e.g. "FLASH_ATTN fa3".

    Raises Refused if another was asked for.
    """
    backend = metadata.prefill.prefill_backend
    name, version = backend.get_name(), getattr(backend, "vllm_flash_attn_version", None)
    found = name if version is None else f"{name} fa{version}"
    if asked is not None and (name, version) != PREFILLS[str(asked)]:
        raise Refused(f"asked for the prefill by {asked}, but vLLM runs {found}")
    return found
