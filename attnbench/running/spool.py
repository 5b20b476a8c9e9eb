"""Outcomes that cannot be written to the database: tried again, and finally kept in a file."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from attnbench.db.damage import Damaged, readable
from attnbench.db.store import Store
from attnbench.errors import DatabaseUnusable, UsageError
from attnbench.note import Note
from attnbench.provenance.machine import Machine
from attnbench.records import Outcome, Run, Status
from attnbench.specs.case import Case
from attnbench.timing.finished import Finished
from attnbench.timing.method import Method

PATIENCE = 600.0  # seconds for which a write is tried again
_LONGEST_PAUSE = 10.0  # seconds between two tries

T = TypeVar("T")


def patiently(write: Callable[[], T], note: Note) -> T:
    """The result of `write`, tried again while the database is locked, full or unreachable.

    Raises the last DatabaseUnusable after PATIENCE seconds, and at once on Ctrl-C.
    """
    deadline, pause, failure = time.monotonic() + PATIENCE, 0.1, None
    while True:
        try:
            if failure is not None:
                time.sleep(pause)
            return write()
        except DatabaseUnusable as error:
            if failure is None:
                note(
                    f"{error}\nThe outcome is kept; storing it is retried for up to {PATIENCE:g} s."
                )
            failure, pause = error, min(2 * pause, _LONGEST_PAUSE)
            if time.monotonic() > deadline:
                raise
        except KeyboardInterrupt:
            if failure is None:
                raise
            raise failure from None


@dataclass(frozen=True, slots=True)
class Spool:
    """Files with outcomes of one run: next to an SQLite database, else in the temporary folder.

    They are private to the user; files of other users are not read.
    """

    database: Path | None  # an SQLite file
    run: Run

    def write(self, finished: Finished) -> Path:
        """Keep an outcome; returns the new file. OSError if no folder takes it."""
        text = json.dumps(_facts(finished))
        for folder in self._folders():
            path = folder / f"attnbench-{self.run.uuid}-{time.time_ns()}.spool"
            try:
                _write_private(path, text)
            except OSError as error:
                failure = error
            else:
                return path
        raise failure

    def restore(self, store: Store) -> int:
        """Store the outcomes kept for the run and remove the files; returns their number.

        Raises UsageError for a file that is damaged.
        """
        done = {place[:3] for place in store.done(self.run.number)}
        paths = list(self._files())
        for path in paths:
            found = _read(path)
            if (found.case.key, found.method.key, found.round) not in done:
                store.add_all(self.run.number, [found])
            path.unlink()
        return len(paths)

    def _folders(self) -> list[Path]:
        beside = [] if self.database is None else [self.database.absolute().parent]
        return list(dict.fromkeys([*beside, Path(tempfile.gettempdir())]))

    def _files(self) -> Iterator[Path]:
        for folder in self._folders():
            for path in sorted(folder.glob(f"attnbench-{self.run.uuid}-*.spool")):
                if not path.is_symlink() and path.stat().st_uid == os.geteuid():
                    yield path


def _read(path: Path) -> Finished:
    try:
        with readable("its outcome"):
            return _finished(json.loads(path.read_text()))
    except Damaged as error:
        raise UsageError(
            f"{path} is damaged ({error}); delete it, and --resume measures its outcome again"
        ) from error


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(text)
    except OSError:
        path.unlink()
        raise


def _facts(finished: Finished) -> dict[str, Any]:
    return {
        "case": finished.case.canonical(),
        "method": finished.method.as_facts(),
        "round": finished.round,
        "position": finished.position,
        "outcome": asdict(finished.outcome),
        "machine": finished.machine and finished.machine.as_facts(),
    }


def _finished(facts: dict[str, Any]) -> Finished:
    outcome = facts["outcome"]
    listed = {name: tuple(outcome[name]) for name in ("samples", "labels", "kernels")}
    return Finished(
        Case.from_canonical(facts["case"]),
        Method.from_facts(facts["method"]),
        facts["round"],
        facts["position"],
        Outcome(**outcome | listed | {"status": Status(outcome["status"])}),
        Machine.from_facts(facts["machine"]) if facts.get("machine") else None,
    )
