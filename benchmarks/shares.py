"""A benchmark whose cases are shared by several processes, a GPU each, and merged afterwards."""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch

Facts = dict[str, Any]
T = TypeVar("T")
KEPT = 2**32  # bytes that a process may hold between cases


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a share: which part, how long, and where the results go."""
    parser.add_argument("--part", default="0/1", help="which of how many shares of the cases")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no case after that")
    parser.add_argument("--merge", type=Path, nargs="+", help="files of parts, to print together")
    parser.add_argument("--output", type=Path, help="write all results here, as JSON")


def run(
    asked: argparse.Namespace,
    measured: Callable[[argparse.Namespace], Iterator[Facts]],
    show: Callable[[Facts], None],
    rows: str,
) -> None:
    """Measure a share, or merge the rows of some, of that name; then show them.

    They are written as far as they go, so a run that is killed loses only its last case.
    """
    facts: Facts = {}
    for facts in (merged(asked.merge, rows),) if asked.merge else measured(asked):
        if asked.output is not None:
            written = asked.output.with_suffix(".part")
            written.write_text(json.dumps(facts, indent=1))
            written.replace(asked.output)
    show(facts)


def merged(paths: list[Path], rows: str) -> Facts:
    """The facts of the first file, with the rows of all."""
    parts = [json.loads(path.read_text()) for path in paths if path.exists()]
    facts: Facts = parts[0] | {rows: [row for part in parts for row in part[rows]]}
    return facts | {"not_reached": sum(part["not_reached"] for part in parts)}


def share(cases: list[T], asked: argparse.Namespace) -> list[T]:
    """This process's part of the cases."""
    which, parts = map(int, asked.part.split("/"))
    return cases[which::parts]


def in_time(cases: list[T], asked: argparse.Namespace) -> Iterator[T]:
    """Take cases from the list until the time is over; it keeps those that are not reached."""
    deadline = time.monotonic() + asked.seconds
    while cases and time.monotonic() < deadline:
        _free()
        yield cases.pop(0)


def _free() -> None:
    """Leave the GPU's memory to the other processes."""
    if torch.cuda.is_available() and torch.cuda.memory_reserved() > KEPT:
        gc.collect()
        torch.cuda.empty_cache()
