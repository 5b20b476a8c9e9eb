"""The names in vLLM's registry, read from its source without importing vLLM."""

import ast
import importlib.util
from pathlib import Path


def registered() -> list[str]:
    """The members of vLLM's AttentionBackendEnum; empty if vLLM is not installed."""
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        return []
    source = Path(found.origin).parent / "v1" / "attention" / "backends" / "registry.py"
    return enum_members(source.read_text(), "AttentionBackendEnum") if source.exists() else []


def enum_members(source: str, name: str) -> list[str]:
    """The names assigned in the body of the class `name`."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            targets = [each.targets for each in node.body if isinstance(each, ast.Assign)]
            return [target.id for (target,) in targets if isinstance(target, ast.Name)]
    return []
