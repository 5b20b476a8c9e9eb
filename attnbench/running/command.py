"""A measuring command as its run stores it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.provenance.source import Source, read_source
from attnbench.running.workers import Place


@dataclass(frozen=True, slots=True)
class Command:
    """A measuring command, without its cases."""

    name: str  # attn, mla, cache-write
    argv: Sequence[str]
    options: Mapping[str, Any]  # options named on the command line, JSON
    devices: Sequence[str]  # as --device names them
    db: str
    label: str | None = None
    source: Path | None = None
    wait: bool = False
    resume: str | None = None  # a run's number, or latest
    ray: str | None = None  # the address of a cluster whose cards measure
    gpus: Sequence[str] = ()  # parts of the names of the models that measure; all if empty
    mixed: bool = False  # whether cards may have unequal software

    @property
    def device(self) -> str:
        """Its only device, or the first."""
        return self.devices[0]


def source_of(command: Command, worker: Place) -> Source:
    """The code under test: the command's, else the checkout that the worker's environment uses."""
    named = command.source is not None
    return read_source(command.source) if named or not worker.source else worker.source
