"""Stored runs, and transfers between databases, as text."""

from collections.abc import Sequence

from attnbench.printable import printable
from attnbench.provenance.machine import Machine
from attnbench.records import Run, RunStatus, Status, Transfer
from attnbench.reporting.text_table import Column, items, text_table, words
from attnbench.units import MISSING, counted

_UNFINISHED = {RunStatus.INTERRUPTED: "!", RunStatus.RUNNING: "~"}
_MARKS = {
    "*": "with uncommitted changes",
    "!": "interrupted; --resume NUMBER continues it, except selfcheck",
    "~": "still running, or killed",
}


def runs_table(runs: Sequence[Run], width: int) -> str:
    """A line per run; `runs` are oldest first and shown newest first.

    The source and the machine have a column if runs differ in them, else a line below; so has a
    branch that all share.
    """
    listed = list(reversed(runs))
    if not listed:
        return "no runs yet; measure first, e.g. attnbench attn"
    shared, counts = _shared(listed), [_counts(run) for run in listed]
    sources = [_source(run, with_branch="branch" not in shared) for run in listed]
    where = {"source": sources, "machine": [_machine(run) for run in listed]}
    columns = [
        Column("run", [str(run.number) for run in listed]),
        Column("started, UTC", [f"{run.started:%Y-%m-%d %H:%M}" for run in listed]),
        Column("command", [run.command for run in listed], left=True),
        words("label", [run.label or MISSING for run in listed]),
        *(words(name, texts) for name, texts in where.items() if name not in shared),
        Column("ok/all", counts),
    ]
    ends = {text[-1] for text in (*sources, *counts)}
    notes = [
        *(f"all: {name} {text}" for name, text in shared.items() if text not in ("", MISSING)),
        *(f"{mark}: {meaning}" for mark, meaning in _MARKS.items() if mark in ends),
    ]
    return "\n\n".join(filter(None, [text_table(columns, width=width), items(notes, width=width)]))


def _shared(runs: Sequence[Run]) -> dict[str, str]:
    """What all runs have in common, by name; a single one has its source and machine in columns."""
    first, found = runs[0], dict[str, str]()
    if len({run.branch for run in runs}) == 1:
        found["branch"] = first.branch or ""
    if len(runs) > 1 and len({(run.commit, run.source["dirty"]) for run in runs}) == 1:
        found["source"] = _source(first, with_branch="branch" not in found)
    if len(runs) > 1 and len({_machine(run) for run in runs}) == 1:
        found["machine"] = _machine(first)
    return found


def run_text(run: Run) -> str:
    """One run in a sentence, e.g. `run 3 "main", attn, 27 outcomes`."""
    label = f' "{printable(run.label)}"' if run.label else ""
    count = sum(run.counts.values())
    return f"run {run.number}{label}, {run.command}, {counted(count, 'outcome')}"


def transfer_text(transfer: Transfer) -> str:
    """The new records, and the runs with a new number."""
    renumbered = [f"run {old} is now {new}" for old, new in transfer.numbers.items() if old != new]
    counts = (
        f"{transfer.runs} new of {len(transfer.numbers)} runs, {transfer.measurements} new "
        f"outcomes, samples of {transfer.samples}"
    )
    noise = [counted(transfer.noise, "new noise floor")] if transfer.noise else []
    replaced, left_out = transfer.replaced, transfer.left_out
    told = f"of rounds in both {replaced} replaced and {left_out} left out"
    both = [told] if replaced or left_out else []
    return ", ".join([counts, *noise, *both, *renumbered])


def _source(run: Run, *, with_branch: bool) -> str:
    if run.commit is None:
        return MISSING
    commit = f"{run.commit[:7]}{'*' if run.source['dirty'] else ''}"
    return f"{run.branch or 'detached'}@{commit}" if with_branch else commit


def _machine(run: Run) -> str:
    machine = Machine.from_facts(run.machine)
    return machine.label.removesuffix(f" ({machine.sm})")


def _counts(run: Run) -> str:
    mark = _UNFINISHED.get(run.status, "")
    return f"{run.counts.get(Status.OK, 0)}/{sum(run.counts.values())}{mark}"
