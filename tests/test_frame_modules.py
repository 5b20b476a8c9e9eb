"""A worker finds the module of a frame as Python does, without resolving every module's path."""

import inspect
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType

import pytest

from attnbench.running.frame_modules import find_by_name

GetModule = Callable[[object], ModuleType | None]


@pytest.fixture
def getmodule(monkeypatch: pytest.MonkeyPatch) -> GetModule:
    """Python's function, which `inspect.getmodule` is no longer during a test."""
    own = inspect.getmodule
    monkeypatch.setattr(inspect, "getmodule", own)
    find_by_name()
    return own


def frame_of(name: str, file: str) -> FrameType:
    """A frame of code that claims to be of a module and a file."""
    namespace: dict[str, object] = {"__name__": name}
    code: CodeType = compile("import sys; frame = sys._getframe()", file, "exec")
    exec(code, namespace)
    frame = namespace["frame"]
    assert isinstance(frame, FrameType)
    return frame


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (__name__, __file__),
        (__name__, "<string>"),
        (__name__, inspect.__file__),
        ("a module that is not loaded", __file__),
        ("sys", "<frozen sys>"),
    ],
)
def test_the_module_of_a_frame_is_pythons(getmodule: GetModule, name: str, file: str) -> None:
    frame = frame_of(name, file)
    assert inspect.getmodule(frame) is getmodule(frame)


def test_the_module_of_other_objects_is_pythons(getmodule: GetModule) -> None:
    for each in (frame_of, GetModule, inspect, frame_of.__code__, 1):
        assert inspect.getmodule(each) is getmodule(each)


@pytest.mark.usefixtures("getmodule")
def test_no_path_is_resolved_for_a_frame_of_a_new_module(monkeypatch: pytest.MonkeyPatch) -> None:
    new = ModuleType("newly_loaded")
    new.__file__ = __file__ + ".new"
    monkeypatch.setitem(sys.modules, new.__name__, new)
    frame = frame_of(new.__name__, new.__file__)
    monkeypatch.delattr(os.path, "realpath")
    assert inspect.getmodule(frame) is new
