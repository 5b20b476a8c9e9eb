"""Going on with a stored run: which one, and whether it can go on here."""

import re
from collections.abc import Collection, Mapping, Sequence

from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.note import Note
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Run, RunStatus
from attnbench.running.command import Command, source_of
from attnbench.running.spool import Spool
from attnbench.running.workers import Place

_OPTIONS = {"is_quick": "quick", "is_exhaustive": "exhaustive"}  # as they are typed


def restore_kept(store: Store, run: Run, note: Note) -> None:
    """Store the outcomes of a run that were kept in files, if there are any."""
    if kept := Spool(store.file, run).restore(store):
        note(f"run {run.number}: stored what was kept when the database failed ({kept} outcomes)")


def check_unchanged(store: Store, run: Run, command: Command, places: Sequence[Place]) -> None:
    """Raise UsageError unless a run can go on with this command, hardware and software."""
    before = _by_name(run.options)
    for name, given in _by_name(command.options).items():
        if given is not False and before.get(name) != given:
            asked = _OPTIONS.get(name, name).replace("_", "-")
            raise UsageError(
                f"--resume continues run {run.number} as it was started, and that had --{asked} "
                f"{_text(before.get(name, 'at its default'))}, not {_text(given)}; leave the "
                f"option out{_example(run)}"
            )
    if changed := _changes(store, run, places, source_of(command, places[0])):
        raise UsageError(
            f"run {run.number} cannot be resumed, since its machine, software or code has changed "
            f"({'; '.join(changed)}); start a new run without --resume"
        )


def _by_name(options: Mapping[str, object]) -> dict[str, object]:
    """All options, those that override a study's file among them: what is left out may differ."""
    found = dict(options)
    overrides = found.pop("overrides", None)
    return found | overrides if isinstance(overrides, dict) else found


def _example(run: Run) -> str:
    """The command that goes on; a study's needs its name or file, which is not stored."""
    return "" if run.command == "study" else f", e.g. attnbench {run.command} --resume {run.number}"


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def run_to_resume(store: Store, command: Command, machines: Collection[str]) -> Run:
    """The unfinished run that the command's --resume names; UsageError if there is none."""
    if command.resume == "latest":
        run = store.latest_unfinished(command.name, machines)
        if run is None:
            raise UsageError(
                f"--resume: {command.db} has no unfinished {command.name} run of this machine; "
                "`attnbench runs` lists all"
            )
        return run
    return named_run(store, command)


def named_run(store: Store, command: Command) -> Run:
    """The run to resume that the command names by its number."""
    asked = command.resume
    if not re.fullmatch("[0-9]{1,9}", str(asked)):
        raise UsageError(
            f"--resume '{asked}' is not a run number; expected a number that `attnbench runs` "
            "lists, or none for the latest unfinished run, e.g. --resume 3"
        )
    run = store.run(int(str(asked)))
    if run.command != command.name or run.status is RunStatus.FINISHED:
        state = f"is of `{run.command}`"
        if run.status is RunStatus.FINISHED:
            state = "is finished"
        raise UsageError(f"--resume {asked}: that run {state}; `attnbench runs` lists the others")
    return run


def _changes(store: Store, run: Run, places: Sequence[Place], source: Source) -> list[str]:
    """Changes in hardware, software and code under test since the run began.

    One card of several is enough, with others of its model.
    """
    machine = places[0].machine
    changed = Environment.from_facts(run.environment).differences(places[0].environment)
    known = {run.machine_key, *store.cards(run.number).values()}
    if known.isdisjoint(place.machine.key for place in places):
        changed.append(f"{Machine.from_facts(run.machine).label} -> {machine.label}")
    if (run.source["commit"], run.source["dirty"]) != (source.commit, source.dirty):
        changed.append("the code under test")
    return changed
