"""Reproducing a stored result: the command, and the differences of this machine."""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from attnbench.db.lookup import find_measurement
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.imports.file import COMMAND
from attnbench.records import Measurement, Run
from attnbench.results.command_line import case_command
from attnbench.results.differences import differences
from attnbench.results.former_method import changes_since
from attnbench.running.this_machine import Here
from attnbench.running.workers import WorkerDied, WorkerTimedOut

_RUN = re.compile(r"\d{1,7}")
_KEY = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class Repro:
    """A command, and the facts to know before running it here."""

    command: str  # for a shell
    run: Run
    measurement: Measurement | None  # None for a whole run
    differences: tuple[str, ...]  # from the measurement's machine to this one


def repro(store: Store, asked: str, look: Callable[[str, Path | None], Here]) -> Repro:
    """The command of a run by its number, or a measurement by the first digits of its UUID.

    A case's key means its newest measurement. `look` examines this machine. Raises UsageError for
    an unknown number or key, and for imported results.
    """
    measurement = None if _RUN.fullmatch(asked) else _measurement(store, asked)
    run = store.run(measurement.run if measurement else int(asked))
    if run.command == COMMAND:
        raise UsageError(f"run {run.number} was imported, so no command can measure it again")
    plan = store.plan(run.number)
    words, changed = list(run.argv), [*_missing(run, plan), *changes_since(run, plan)]
    if measurement:
        changed = []  # a case's command says all of its method, and needs no file
        words = case_command(measurement.case, measurement.method, plan)
        words += ["--source", str(run.source["path"])] if _source(run) else []
    return Repro(
        command=shlex.join(words),
        run=run,
        measurement=measurement,
        differences=(*changed, *_differences(run, look)),
    )


def _measurement(store: Store, asked: str) -> Measurement:
    key = asked.lower()
    found = find_measurement(store, key) if _KEY.fullmatch(key) else None
    if found is None:
        raise UsageError(
            f"{asked}: no measurement and no case has that key; accepted are a run's number, and 8 "
            "or more digits of a measurement's UUID (report --format csv) or of a case's key "
            "(report --ids), e.g. attnbench repro 12"
        )
    return found


def _missing(run: Run, plan: Mapping[str, Any]) -> list[str]:
    """That the file or the trace of a study is not here."""
    if not plan.get("study"):
        return []
    words = [part for word in run.argv for part in word.split("=", 1)]
    read = [word for before, word in pairwise(words) if before == "--trace"]
    read = read or [word for word in words if word.endswith((".yaml", ".yml"))][:1]
    there_is = f"`attnbench study show {run.number}` prints the study as a file"
    return [f"{file} -> missing; {there_is}" for file in read if not Path(file).is_file()]


def _differences(run: Run, look: Callable[[str, Path | None], Here]) -> list[str]:
    """The differences from the measurement's machine to this one, in the words of diff."""
    device = "cpu" if run.machine["kind"] == "cpu" else "auto"
    try:
        here = look(device, _source(run))
    except (WorkerDied, WorkerTimedOut) as error:
        return [f"could not examine this machine: {error}"]
    now = replace(
        run,
        machine=here.machine.as_facts(),
        machine_model=here.machine.model_key,
        machine_name=here.machine.label,
        environment=here.environment.as_facts(),
        source=asdict(here.source),
    )
    return differences(run, now)


def _source(run: Run) -> Path | None:
    """The tree of the run's --source, if it is here."""
    path = run.source["path"]
    named = run.source["origin"] == "--source" and isinstance(path, str)
    return Path(str(path)) if named and Path(str(path)).is_dir() else None
