"""vLLM's registry and facts on its backends, read from its source: nothing is imported."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

_REGISTRY = "v1/attention/backends/registry.py"
_QUERY_LENS = re.compile(r"query_len_support\b.*= QueryLenSupport\.(\w+)")


def registered() -> list[str]:
    """The members of vLLM's AttentionBackendEnum; empty if vLLM is not installed."""
    return list(backend_classes(_source(_REGISTRY)))


@cache
def query_len_support(name: str) -> str | None:
    """vLLM's QueryLenSupport of an MLA backend, e.g. "UNIFORM"; None where it does not say."""
    module = (
        backend_classes(_source(_REGISTRY)).get(name, "").rpartition(".")[0].removeprefix("vllm.")
    )
    found = _QUERY_LENS.search(_source(f"{module.replace('.', '/')}.py"))
    return None if found is None else found[1]


def has_dense_sparse_prefill() -> bool:
    """Whether sparse MLA sends prompts that select all their keys to dense attention (0.30)."""
    return bool(_source("model_executor/layers/attention/sparse_mla_attention.py"))


def backend_classes(source: str) -> dict[str, str]:
    """The members of AttentionBackendEnum with the path of their class, "" for none."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == "AttentionBackendEnum":
            assigned = [each for each in node.body if isinstance(each, ast.Assign)]
            return {
                target.id: _text(each.value)
                for each in assigned
                for target in each.targets
                if isinstance(target, ast.Name)
            }
    return {}


def _text(value: ast.expr) -> str:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


@cache
def _source(path: str) -> str:
    """A file of the installed vLLM; "" where there is none."""
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        return ""
    file = Path(found.origin).parent / path
    return file.read_text() if file.is_file() else ""
