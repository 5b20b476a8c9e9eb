"""Processes on this machine while tests run: any of them may end while it is looked at."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

WORKER = b"attnbench.running.worker"


def exists(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return pid in dict(_parents())


def descendants(pid: int) -> list[int]:
    """All processes that one has started, and those that they have, as far as they run."""
    parents = dict(_parents())
    children = [each for each, parent in parents.items() if parent == pid]
    return children + [below for child in children for below in descendants(child)]


def workers_of(*commands: int) -> list[int]:
    """The worker processes that commands have started and that run, even if the command does not.

    By their command lines: the children that /proc names for each thread of a command can be read
    only while that thread lives, and a command starts and ends threads all the time.
    """
    starters = {b"%d" % command for command in commands}
    return [
        pid
        for pid, words in _command_lines()
        if any(WORKER in word for word in words) and starters & {*words[-2:-1]}
    ]


def named(word: bytes, pids: Collection[int]) -> list[int]:
    """Those of these processes that have the word in their command line."""
    return [
        pid
        for pid, words in _command_lines()
        if pid in pids and any(word in each for each in words)
    ]


def _parents() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            # "pid (name) state parent ...", where the name may hold anything
            state, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if state != "Z":
                yield int(folder.name), int(parent)


def _command_lines() -> Iterator[tuple[int, list[bytes]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            words = (folder / "cmdline").read_bytes().removesuffix(b"\0").split(b"\0")
            yield int(folder.name), words
