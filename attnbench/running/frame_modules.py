"""Tells the module of a frame without looking through all modules.

torch asks for it whenever an operation is registered: 392 times while vLLM is imported. Python then
resolves the path of each new module's file, folder by folder: a third of all system calls.
"""

import inspect
import sys
from types import FrameType, ModuleType
from typing import Any


def find_by_name() -> None:
    """In this process, let `inspect.getmodule` find a frame's module by the name in its globals."""
    own = inspect.getmodule

    def getmodule(object: Any, _filename: str | None = None) -> ModuleType | None:
        return _named(object) or own(object, _filename)

    inspect.getmodule = getmodule


def _named(object: Any) -> ModuleType | None:
    """The module of a frame; None for other objects, and for code that is not from its file."""
    if not isinstance(object, FrameType):
        return None
    module = sys.modules.get(object.f_globals.get("__name__", ""))
    file = getattr(module, "__file__", None)
    return module if file == object.f_code.co_filename else None
