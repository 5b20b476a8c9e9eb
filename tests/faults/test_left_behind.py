"""Each setting that a backend may leave changed is noticed, so the next case has a fresh worker."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from attnbench.kernels.registry import backends, find
from attnbench.running.left_behind import process_state
from tests.conftest import OWN_KERNELS


@contextmanager
def changed(change: Callable[[], object], undo: Callable[[], object]) -> Iterator[None]:
    change()
    try:
        yield
    finally:
        undo()


THREADS, PRECISION = torch.get_num_threads(), torch.get_float32_matmul_precision()
CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "default dtype": (
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_dtype(torch.float32),
    ),
    "default device": (
        lambda: torch.set_default_device("meta"),
        lambda: torch.set_default_device(None),
    ),
    "threads": (
        lambda: torch.set_num_threads(THREADS + 1),
        lambda: torch.set_num_threads(THREADS),
    ),
    "deterministic": (
        lambda: torch.use_deterministic_algorithms(True),
        lambda: torch.use_deterministic_algorithms(False),
    ),
    "matmul precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision(PRECISION),
    ),
    "flushes denormals": (
        lambda: torch.set_flush_denormal(True),
        lambda: torch.set_flush_denormal(False),
    ),
    "working directory": (lambda: os.chdir("/"), lambda: os.chdir(Path(__file__).parents[2])),
}


def differing(backend: str, change: Callable[[], object], undo: Callable[[], object]) -> list[str]:
    """The settings that the change is noticed by."""
    before = process_state(find("attn", backend))
    with changed(change, undo):
        after = process_state(find("attn", backend))
    return [name for name in before if before[name] != after[name]]


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_of_the_process_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert differing("naive", *CHANGES[name]) == [name]


def test_variables_and_threads_count_for_own_backends_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ATTNBENCH_KERNELS", str(OWN_KERNELS))
    backends.cache_clear()
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)

    def change() -> None:
        os.environ["LEFT_BEHIND"] = "1"
        thread.start()

    def undo() -> None:
        os.environ.pop("LEFT_BEHIND", None)
        ended.set()

    assert differing("paced", change, undo) == ["environment", "threads of Python"]
    assert differing("naive", lambda: os.environ.update(LEFT_BEHIND="1"), undo) == []
    backends.cache_clear()
