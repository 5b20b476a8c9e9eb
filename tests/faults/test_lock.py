"""One command a device: for all users, without a file that could be left or forged."""

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from attnbench.errors import AttnbenchError
from attnbench.running import lock
from attnbench.running.lock import device_lock
from tests.stored_results import CPU, H200

pytestmark = pytest.mark.usefixtures("own_lock")


def note(_: str) -> None:
    """Ignore a remark."""


def test_a_second_command_is_told_who_holds_the_device() -> None:
    with device_lock(CPU, wait=False, note=note), device_lock(H200, wait=False, note=note):
        held = pytest.raises(AttnbenchError, match=rf"process {os.getpid()}\) is measuring on")
        with held, device_lock(CPU, wait=False, note=note):
            pass
    with device_lock(CPU, wait=False, note=note):
        pass


def test_a_command_that_waits_says_for_whom_and_goes_on_when_that_ends() -> None:
    notes, order = list[str](), list[str]()

    def wait() -> None:
        with device_lock(CPU, wait=True, note=notes.append):
            order.append("second")

    second = threading.Thread(target=wait)
    with device_lock(CPU, wait=False, note=note):
        second.start()
        while not notes:
            time.sleep(0.01)
        order.append("first")
    second.join(timeout=30)
    assert order == ["first", "second"]
    assert f"(process {os.getpid()}) is measuring on Intel Xeon" in notes[0]
    assert notes[0].endswith("; waiting for it to end")


def hold_as(user: int, ready: "multiprocessing.synchronize.Event") -> None:
    os.setuid(user)
    with device_lock(CPU, wait=False, note=note):
        ready.set()
        time.sleep(3600)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_excludes_this_one_and_a_killed_holder_leaves_nothing() -> None:
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    other = fork.Process(target=hold_as, args=(65534, ready))
    other.start()
    assert ready.wait(30)
    held = pytest.raises(AttnbenchError, match=f"process {other.pid} of user nobody")
    with held, device_lock(CPU, wait=False, note=note):
        pass
    other.kill()
    other.join()
    with device_lock(CPU, wait=False, note=note):
        pass


def test_a_name_for_tests_may_have_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lock.VARIABLE, "\udcff\n" + "x" * 500)
    with device_lock(CPU, wait=False, note=note):
        monkeypatch.setenv(lock.VARIABLE, "other")
        with device_lock(CPU, wait=False, note=note):
            pass


def test_the_temporary_folder_does_not_decide_the_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with device_lock(CPU, wait=False, note=note):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        with pytest.raises(AttnbenchError), device_lock(CPU, wait=False, note=note):
            pass
