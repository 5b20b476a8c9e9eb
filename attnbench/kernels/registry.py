"""Finds backends: every concrete Backend class in a family's folder and in the user's own.

Your own kernel is measured by the same rules as any other.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Sequence
from functools import cache
from types import ModuleType

from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.kernels.base import Backend
from attnbench.kernels.own import Own, folder_of, is_backend_of, own_backends
from attnbench.meant import meant


@cache
def backends(family: str) -> tuple[Backend, ...]:
    """All backends of a family, sorted by name; imports no kernel library."""
    listed = [*_built_in(family), *_own(family).backends]
    return tuple(sorted(listed, key=lambda backend: backend.name))


def own_problems(family: str) -> tuple[str, ...]:
    """A sentence for each thing in the user's folder that is not a usable backend of the family."""
    return _own(family).problems


def _own(family: str) -> Own:
    taken = {name for backend in _built_in(family) for name in _names(backend)}
    return own_backends(family, _names, taken)


def _built_in(family: str) -> list[Backend]:
    """Those of this package.

    A module with a function `more_backends` offers the backends it returns, except those whose name
    a class of another module already has as name or alias.
    """
    modules = list(_modules(family))
    listed = [backend for module in modules for backend in _defined(module)]
    taken = {name for backend in listed for name in _names(backend)}
    more = [backend for module in modules for backend in getattr(module, "more_backends", tuple)()]
    return listed + [backend for backend in more if _folded(backend.name) not in taken]


def _defined(module: ModuleType) -> Iterator[Backend]:
    if hasattr(module, "more_backends"):
        return
    for member in vars(module).values():
        if is_backend_of(member, module) and not inspect.isabstract(member):
            yield member()


def find(family: str, name: str) -> Backend:
    """The backend of that name or alias; case is ignored, and '-' and '_' are equal."""
    wanted = _folded(name)
    for backend in backends(family):
        if wanted in _names(backend):
            return backend
    names = [backend.name for backend in backends(family)]
    raise UsageError(
        f"no {family} backend is called '{name}'{_hint(name, names)}; expected one of "
        f"{', '.join(names)}, or all, e.g. --backend {_usual(names)}"
        + "".join(f"\n{problem}" for problem in own_problems(family))
    )


def _usual(names: Sequence[str]) -> str:
    """A backend that runs on every machine, for an example."""
    return next((name for name in names if name in ("sdpa", "torch-absorbed", "torch")), names[0])


def _hint(name: str, names: Sequence[str]) -> str:
    """What was meant, most likely: a list, a backend of another family, or a similar name."""
    wanted = _folded(name)
    if separated := [part for part in re.split(r"[,\s]+", name) if part != name]:
        return f" (separate names by spaces: --backend {' '.join(filter(None, separated))})"
    for other in FAMILIES:
        if any(wanted in _names(each) for each in backends(other)):
            return f", but an {other} backend is: attnbench {other} --backend {name}"
    return meant(wanted, names)


def _names(backend: Backend) -> set[str]:
    return {_folded(name) for name in (backend.name, *backend.aliases)}


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")


def _modules(family: str) -> Iterator[ModuleType]:
    package = importlib.import_module(f"attnbench.kernels.{folder_of(family)}")
    for info in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{package.__name__}.{info.name}")
