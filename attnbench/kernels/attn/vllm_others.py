"""The other standard backends of the installed vLLM's registry, under their names there."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from attnbench.kernels.base import Backend
from attnbench.kernels.vllm.attention import VllmAttention

# Backends with a file of their own; other families' (MLA, sparse); other platforms'; and names
# that stand for no backend.
OURS = {"FLASH_ATTN", "TRITON_ATTN", "FLASHINFER", "FLEX_ATTENTION"}
ELSEWHERE = re.compile(r"MLA|SPARSE|^(ROCM|XPU|CPU)_|^(TORCH_SDPA|NO_ATTENTION|CUSTOM)$")


class OtherAttention(VllmAttention):
    """A backend that attnbench knows by its name alone: vLLM's own layer knows how to build it."""

    name: ClassVar[str]
    features: ClassVar = frozenset({"window", "softcap", "sinks"})
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")


def more_backends() -> Iterator[Backend]:
    """One for each name; read from the registry's source, so that vLLM need not be imported."""
    for name in _registered():
        if name not in OURS and not ELSEWHERE.search(name):
            yield type(name, (OtherAttention,), {"name": name.lower(), "enum": name})()


def _registered() -> list[str]:
    """The members of vLLM's AttentionBackendEnum, none where vLLM is not installed."""
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        return []
    source = Path(found.origin).parent / "v1" / "attention" / "backends" / "registry.py"
    return enum_members(source.read_text(), "AttentionBackendEnum") if source.exists() else []


def enum_members(source: str, name: str) -> list[str]:
    """The names assigned in the body of a class of that name."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            targets = [each.targets for each in node.body if isinstance(each, ast.Assign)]
            return [target.id for (target,) in targets if isinstance(target, ast.Name)]
    return []
