"""Finds backends: every concrete Backend class in a family's folder and in the user's own.

ATTNBENCH_KERNELS names a folder with one subfolder per family (attn, mla, cache_write,
prefill_trtllm). A file there is a backend like any other, so your own kernel is measured by the
same rules.
"""

import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from attnbench.errors import UsageError
from attnbench.kernels.base import Backend


@cache
def backends(family: str) -> tuple[Backend, ...]:
    """All backends of a family, sorted by name; imports no kernel library.

    A module with a function `more_backends` offers the backends it returns, except those whose name
    a class of another module already has as name or alias.
    """
    modules = list(_modules(family))
    listed = [backend for module in modules for backend in _defined(module)]
    taken = {name for backend in listed for name in _names(backend)}
    more = [backend for module in modules for backend in getattr(module, "more_backends", tuple)()]
    listed += [backend for backend in more if _folded(backend.name) not in taken]
    return tuple(sorted(listed, key=lambda backend: backend.name))


def _defined(module: ModuleType) -> Iterator[Backend]:
    if hasattr(module, "more_backends"):
        return
    for member in vars(module).values():
        if _is_backend(member, module):
            yield member()


def find(family: str, name: str) -> Backend:
    """The backend of that name or alias; case is ignored, and '-' and '_' are equal."""
    wanted = _folded(name)
    for backend in backends(family):
        if wanted in _names(backend):
            return backend
    known = ", ".join(backend.name for backend in backends(family))
    raise UsageError(
        f"no {family} backend is called '{name}'; expected one of {known}, or all, "
        f"e.g. --backend {backends(family)[0].name}"
    )


def _names(backend: Backend) -> set[str]:
    return {_folded(name) for name in (backend.name, *backend.aliases)}


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")


def _is_backend(member: object, module: ModuleType) -> bool:
    return (
        isinstance(member, type)
        and issubclass(member, Backend)
        and not inspect.isabstract(member)
        and member.__module__ == module.__name__
    )


def _modules(family: str) -> Iterator[ModuleType]:
    folder = family.replace("-", "_")
    package = importlib.import_module(f"attnbench.kernels.{folder}")
    for info in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{package.__name__}.{info.name}")
    if own := os.environ.get("ATTNBENCH_KERNELS"):
        for path in sorted(Path(own, folder).glob("*.py")):
            yield _load(f"attnbench_own_{folder}_{path.stem}", path)


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
