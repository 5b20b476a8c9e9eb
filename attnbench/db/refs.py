"""References to sets of runs for `report` and `diff`: a label, branch, commit, run or GPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from attnbench.db.models import MachineRow, RunRow, SourceRow
from attnbench.db.queries import OLDEST_FIRST
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.machine import is_named
from attnbench.run_label import RECENT, REF_KINDS
from attnbench.shorten import few

_NOUNS = {
    "label": "label",
    "branch": "branch",
    "commit": "commit (7 digits or more)",
    "run": "number",
    "gpu": "GPU",
}
_BARE = REF_KINDS[:-1]  # a GPU always needs its kind
_MIN_COMMIT = 7  # hexadecimal digits
_LISTED = 5  # names of a kind in a message


@dataclass(frozen=True, slots=True)
class Ref:
    """The runs that a text refers to in one database."""

    text: str
    kind: str  # label, branch, commit, run or gpu
    runs: tuple[int, ...]  # numbers, oldest run first, at least one


@dataclass(frozen=True, slots=True)
class _Run:
    number: int
    names: Mapping[str, str | None]  # by kind
    recent: str  # latest, previous or neither


def resolve(store: Store, text: str, option: str | None = None) -> Ref:
    """The runs of `latest`, `previous`, KIND:NAME, or a name of any kind except gpu.

    A label wins over a branch of the same name, and over `previous`. Raises UsageError for a name
    that no run has, and for one that refers to different runs as different kinds; it names the
    option, if there is one.
    """
    try:
        return _resolve(store, text)
    except UsageError as error:
        if option is None:
            raise
        raise UsageError(f"{option} {error}") from None


def _resolve(store: Store, text: str) -> Ref:
    known = _read(store)
    prefix, colon, rest = text.partition(":")
    kinds, name = ((prefix,), rest) if colon and prefix in REF_KINDS else (_BARE, text)
    if text == "latest":  # an old label of that name is still label:latest
        kinds = ("run",)
    found = {kind: [run for run in known if _is_named(run, kind, name)] for kind in kinds}
    readings = {kind: tuple(run.number for run in runs) for kind, runs in found.items() if runs}
    if "label" in readings:
        # A label is given by hand; a branch is only where the run was started.
        readings.pop("branch", None)
        if text == "previous":
            readings.pop("run", None)
    if not readings:
        raise _unknown(known, kinds, text)
    if len(set(readings.values())) > 1:
        raise _ambiguous(readings, text)
    kind, runs = next(iter(readings.items()))
    _require_one_commit(found.get("commit", []), text)
    return Ref(text, kind, runs)


def _read(store: Store) -> list[_Run]:
    recent = _recent(store)
    query = (
        select(RunRow.number, RunRow.label, SourceRow.branch, SourceRow.commit, MachineRow.name)
        .join(SourceRow, RunRow.source_id == SourceRow.id)
        .join(MachineRow, RunRow.machine_id == MachineRow.id)
        .order_by(*OLDEST_FIRST)
    )
    with store.reading() as session:
        return [
            _Run(
                number=number,
                names=dict(zip(REF_KINDS, (label, branch, commit, str(number), gpu), strict=True)),
                recent=recent.get(number, ""),
            )
            for number, label, branch, commit, gpu in session.execute(query)
        ]


def _recent(store: Store) -> dict[int, str]:
    """By number, the newest run with an outcome that is ok, and that before it of its command."""
    latest = store.latest_run()
    previous = latest and store.previous_run(latest)
    found = zip(RECENT, (latest, previous), strict=True)
    return {run.number: name for name, run in found if run is not None}


def _is_named(run: _Run, kind: str, name: str) -> bool:
    own = run.names[kind] or ""
    if kind == "commit":
        return len(name) >= _MIN_COMMIT and own.startswith(name.lower())
    if kind == "gpu":
        return bool(name) and is_named(own, name)
    if kind == "run" and name in RECENT:
        return run.recent == name
    return bool(name) and own == name


def _unknown(known: Sequence[_Run], kinds: Sequence[str], text: str) -> UsageError:
    if not known:
        return UsageError(f"{text}: there are no runs yet; measure first, e.g. attnbench attn")
    if text.removeprefix("run:") in RECENT:
        if not any(run.recent for run in known):
            return UsageError(f"{text}: no run has a measurement that is ok")
        return UsageError(
            f"{text}: the latest run is the only one of its command with a measurement that is ok; "
            "measure again, or name the runs, e.g. --base main"
        )
    what = _NOUNS[kinds[0]] if len(kinds) == 1 else "label, branch, commit or number"
    shown = text or "''"
    lines = [f"{shown}: no run has that {what}; known, newest first:"]
    for kind in kinds if len(kinds) == 1 else REF_KINDS:
        names = dict.fromkeys(name for run in reversed(known) if (name := run.names[kind]))
        lines.append(f"  {kind}: {few([_shown(kind, name) for name in names], _LISTED) or 'none'}")
    return UsageError("\n".join(lines))


def _ambiguous(readings: Mapping[str, tuple[int, ...]], text: str) -> UsageError:
    lines = [f"{text} has {len(readings)} meanings; say which:"]
    for kind, runs in readings.items():
        plural, numbers = "s" if len(runs) > 1 else "", [str(run) for run in reversed(runs)]
        lines.append(f"  {kind}:{text}  run{plural} {few(numbers, _LISTED)}")
    return UsageError("\n".join(lines))


def _require_one_commit(runs: Sequence[_Run], text: str) -> None:
    commits = sorted({run.names["commit"] or "" for run in runs})
    if len(commits) > 1:
        listed = ", ".join(commits)
        raise UsageError(f"{text} begins {len(commits)} commits; give more digits: {listed}")


def _shown(kind: str, name: str) -> str:
    return name[:12] if kind == "commit" else name
