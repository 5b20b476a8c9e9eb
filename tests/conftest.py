"""What tests share: whether there is a GPU, the command as a real process, small cases."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, settings

from attnbench.cli import cli
from attnbench.garbage import none_is_made
from attnbench.kernels.registry import backends
from attnbench.running import lock
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape, Shape

# Before torch is imported, here and in every process that tests start: threads that wait for each
# other on a busy machine take longer than any pace.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Texts that tests expect are wrapped for a terminal of this width; without it a pipe has no limit.
os.environ.setdefault("COLUMNS", "80")

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

OWN_KERNELS = Path(__file__).parent / "own_kernels"

# The command line of a case so small that preparing it costs nothing; but as many working sets as
# exceed a CPU's cache take longer than all else of a run.
ALL_SETS = ["--num-q-heads", "4", "--num-kv-heads", "2", "--head-dim", "16", "--device", "cpu"]
SMALL = [*ALL_SETS, "--num-layers", "2"]

Attnbench = Callable[..., "subprocess.CompletedProcess[str]"]
Refused = Callable[..., str]

# On a busy machine an example takes any time; pytest-timeout ends what hangs.
settings.register_profile("any-speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-speed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests and their modules are no garbage; looking for some is a third of it."""
    with none_is_made():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where torch finds none."""
    if not any(item.get_closest_marker("gpu") for item in items) or _gpu():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


def _gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Chrome]":
    """A Chromium for the tests of a module."""
    from tests.chromium import chromium

    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of devices of the test's own: tests that run side by side do not wait."""
    monkeypatch.setenv(lock.VARIABLE, str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def exclusive_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that says that its GPU takes one process at a time."""
    import pynvml

    said = {
        "nvmlDeviceGetCount": 1,
        "nvmlDeviceGetHandleByIndex": object(),
        "nvmlDeviceGetComputeMode": pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS,
    }
    for name, answer in said.items():
        monkeypatch.setattr(pynvml, name, lambda *_, answer=answer: answer)


@pytest.fixture
def own_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests' own backends beside ours."""
    monkeypatch.setenv("ATTNBENCH_KERNELS", str(OWN_KERNELS))
    backends.cache_clear()
    yield
    backends.cache_clear()


def own_environment(folder: Path) -> dict[str, str]:
    """Variables of a command that has the tests' own backends and a lock of its own."""
    return {
        **{name: value for name, value in os.environ.items() if name != "ATTNBENCH_DB"},
        "ATTNBENCH_KERNELS": str(OWN_KERNELS),
        "TMPDIR": str(folder),
        lock.VARIABLE: str(folder),
        "COLUMNS": "80",
    }


def run_attnbench(
    folder: Path, environment: dict[str, str], *args: str
) -> "subprocess.CompletedProcess[str]":
    """Run `attnbench ARGS...` in that folder as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "attnbench", *args],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass
class Ran:
    """A command that ended, and its folder: tests that only look share one."""

    done: "subprocess.CompletedProcess[str]"
    folder: Path

    @classmethod
    def of(cls, folder: Path, *args: str) -> Self:
        """Run `attnbench ARGS...` there."""
        return cls(run_attnbench(folder, own_environment(folder), *args), folder)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of `own_environment`."""
    return own_environment(tmp_path)


@pytest.fixture
def attnbench(tmp_path: Path, environment: dict[str, str]) -> Attnbench:
    """Run `attnbench ARGS...` in an empty folder."""

    def run(*args: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return run_attnbench(tmp_path, environment | variables, *args)

    return run


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """The error of `attnbench ARGS...` in an empty folder, which ends with status 2.

    In this process: one of its own takes half a second of the CPU.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATTNBENCH_DB", raising=False)

    def run(*args: str) -> str:
        done = CliRunner().invoke(cli, args, prog_name="attnbench")
        assert done.exit_code == 2, done.output
        return done.stderr

    return run


@contextmanager
def started(
    folder: Path, environment: dict[str, str], *args: str
) -> "Iterator[subprocess.Popen[str]]":
    """`attnbench ARGS...` while it runs; killed at the end, should it still run then.

    Ctrl-C reaches it even where it does not reach this process, as in `nohup make test &`.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "attnbench", *args],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_first_outcome(process: "subprocess.Popen[str]", folder: Path) -> None:
    """Until the process has stored an outcome, by reading the file beside it."""
    while not _stored(folder, "measurement"):
        assert process.poll() is None, "it ended before anything was measured"
        time.sleep(0.05)


def wait_for_sentinels(process: "subprocess.Popen[str]", folder: Path) -> None:
    """Until those of a run's start are stored: from then on the first of several cards measures."""
    while not _stored(folder, "sentinel"):
        assert process.poll() is None, "it ended without sentinels"
        time.sleep(0.05)


def _stored(folder: Path, table: str) -> int:
    try:
        with sqlite3.connect(folder / "attnbench.db") as connection:
            (found,) = connection.execute(f"select count(*) from {table}").fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(found)


def small_case(
    family: str = "attn",
    backend: str = "naive",
    spec: str = "2q8_3q1kv20",
    dtype: str = "fp32",
    **fields: object,
) -> Case:
    """A case of few heads and tokens."""
    shape: Shape = MlaShape(2, 32, 16, 8, 16) if family == "mla" else AttnShape(4, 2, 16)
    return Case(family, backend, parse_batch_spec(spec), shape, dtype, **fields)  # type: ignore[arg-type]
