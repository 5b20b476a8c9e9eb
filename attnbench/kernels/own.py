"""Backends of the user's own, from the folder that ATTNBENCH_KERNELS names.

It has one subfolder per family. What is wrong with a file costs that file alone, and is said in a
sentence: a kernel that is silently missing would pass for one that was measured.
"""

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from attnbench.families import FAMILIES
from attnbench.kernels.base import Backend
from attnbench.kernels.import_limit import ImportTooSlow, ended_after
from attnbench.reasons import with_type

VARIABLE = "ATTNBENCH_KERNELS"
_MODULES = "attnbench_own_"  # begins the names of the modules of its files
_IMPORT_LIMIT = 60.0  # seconds for each file


@dataclass(frozen=True, slots=True)
class Own:
    """The user's backends of a family, and why others are not among them."""

    backends: tuple[Backend, ...] = ()
    problems: tuple[str, ...] = ()


def own_backends(family: str, names_of: Callable[[Backend], set[str]], taken: set[str]) -> Own:
    """Those of a family whose names are not `taken`."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return Own()
    problems, kept = [*_misplaced(Path(folder))], list[Backend]()
    taken, loaded = set(taken), _loaded(Path(folder, folder_of(family)))
    for path, backend in loaded.found:
        if clash := names_of(backend) & taken:
            named = ", ".join(sorted(clash))
            problems.append(f"{path}: the name {named} is taken by another {family} backend")
        else:
            kept.append(backend)
            taken |= names_of(backend)
    return Own(tuple(kept), tuple(f"{VARIABLE}: {each}" for each in (*problems, *loaded.problems)))


def is_own(backend: Backend) -> bool:
    """Whether it comes from the user's folder."""
    return type(backend).__module__.startswith(_MODULES)


def folder_of(family: str) -> str:
    """The name of a family's folder."""
    return family.replace("-", "_")


FOLDERS = tuple(map(folder_of, FAMILIES))


def _misplaced(folder: Path) -> Iterator[str]:
    """What is wrong with the folder as a whole."""
    expected = f"expected FOLDER/{FOLDERS[0]}/mine.py, or another of {', '.join(FOLDERS)}"
    if not folder.is_dir():
        yield f"{folder} is not a folder; {expected}"
        return
    children = [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "_"))]
    if not any(path.name in FOLDERS for path in children):
        yield f"{folder} has no folder of a family; {expected}"
        return
    for path in children:
        if path.suffix == ".py" or (path.name not in FOLDERS and any(path.glob("*.py"))):
            yield f"{path} is not in the folder of a family; {expected}"


@dataclass(frozen=True, slots=True)
class _Loaded:
    found: tuple[tuple[Path, Backend], ...]
    problems: tuple[str, ...]


@cache
def _loaded(folder: Path) -> _Loaded:
    found, problems = list[tuple[Path, Backend]](), list[str]()
    for path in sorted(folder.glob("*.py")):
        try:
            with ended_after(_IMPORT_LIMIT):
                module = _module(f"{_MODULES}{folder.name}_{path.stem}", path)
                usable, unusable = _usable(_instances(module))
        except (Exception, SystemExit, ImportTooSlow) as error:  # noqa: BLE001 - a file may raise anything
            usable, unusable = [], [_reason(error)]
        if not (usable or unusable or path.stem.startswith("_")):
            unusable = ["has no class of a backend; expected a subclass of Backend with a prepare"]
        found += [(path, backend) for backend in usable]
        problems += [f"{path}: {why}" for why in unusable]
    return _Loaded(tuple(found), tuple(problems))


def _module(name: str, path: Path) -> ModuleType:
    if not path.is_file():  # reading a pipe may never end
        raise OSError("not a regular file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _instances(module: ModuleType) -> list[Backend | str]:
    """The backends that a module defines or offers; for a class that is none, why."""
    if hasattr(module, "more_backends"):
        return list(module.more_backends())
    return [_instance(each) for each in vars(module).values() if is_backend_of(each, module)]


def _instance(backend: type[Backend]) -> Backend | str:
    if inspect.isabstract(backend):
        lacking = ", ".join(sorted(backend.__abstractmethods__))
        return f"class {backend.__name__} has no method {lacking}"
    return backend()


def is_backend_of(member: object, module: ModuleType) -> bool:
    """Whether it is a class of a backend that this very module defines."""
    return (
        isinstance(member, type)
        and issubclass(member, Backend)
        and member.__module__ == module.__name__
    )


def _usable(listed: Iterable[Backend | str]) -> tuple[list[Backend], list[str]]:
    usable, unusable = list[Backend](), list[str]()
    for each in listed:
        if isinstance(each, str):
            unusable.append(each)
        elif not isinstance(getattr(each, "name", None), str):
            unusable.append(f'class {type(each).__name__} has no name, e.g. name = "mine"')
        else:
            usable.append(each)
    return usable, unusable


def _reason(error: BaseException) -> str:
    if isinstance(error, ImportTooSlow):
        return f"its import did not end within {_IMPORT_LIMIT:g} s; compile in prepare instead"
    if isinstance(error, SyntaxError):  # its text ends with another line number
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}"
    return with_type(error)
