"""What to do about unclear verdicts: the commands that should settle them, and the time they take.

More rounds on each side do where sessions agree well enough; where they do not, the sides have to
take turns (`attnbench ab`).
"""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from attnbench.analysis.estimate import Cell
from attnbench.analysis.pairing import Pair
from attnbench.analysis.series import Series
from attnbench.analysis.verdict import FIRST_ROUNDS, Comparison
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.leading_db import split_db
from attnbench.records import Run
from attnbench.results.command_line import case_command

MOST_ROUNDS = 30  # advised: a cell that needs more lies next to the margin
# Options whose values can be listed: a command measures each with each.
_LISTED = ("--backend", "--batch-specs")

Facts = Mapping[str, object]
Unclear = tuple[Pair, Cell, Comparison]


@dataclass(frozen=True, slots=True)
class NextStep:
    """Commands that should settle unclear verdicts."""

    cases: int  # that they should settle
    rounds: int  # on each side
    seconds: float | None  # of measuring both sides; None if no duration is stored
    interleaved: bool  # whether the sides take turns, each round in a fresh worker
    commands: Sequence[str]  # for a shell; empty if the cases cannot be measured by a command


def find_next_step(
    store: Store, unclear: Sequence[Unclear], base: Run, head: Run, *, alike: bool
) -> NextStep | None:
    """The commands for these cases, all unclear; None if 30 rounds settle none.

    `alike` if the sides are the same cases before and after.
    """
    in_turns = all(cell.paired for _, cell, _ in unclear)
    apart = _settled([(pair, cell, found.rounds_needed) for pair, cell, found in unclear])
    together = _settled([(pair, cell, found.rounds_interleaved) for pair, cell, found in unclear])
    if not in_turns and len(together) > len(apart):
        in_turns, apart = True, together
    if not apart:
        return None
    rounds = max(needed for _, needed in apart)
    sides = [side for pair, _ in apart for side in ((pair.head,) if alike else _both(pair))]
    plan = {**store.plan(head.number), "rounds": rounds}
    groups = _grouped(sides, plan)
    where = _database(store)
    lines = [[*group.words, *where] for group in groups]
    commands = _commands(lines, (base, head), store, in_turns=in_turns, alike=alike)
    measured = (sum(group.cases for group in groups) or len(sides)) * (2 if alike else 1)
    return NextStep(
        len(apart), rounds, _seconds(sides, rounds * measured), in_turns and alike, commands
    )


def _settled(needed: Iterable[tuple[Pair, Cell, int | None]]) -> list[tuple[Pair, int]]:
    listed = ((pair, _rounds(cell, rounds)) for pair, cell, rounds in needed)
    return [(pair, n) for pair, n in listed if n is not None and n <= MOST_ROUNDS]


def _rounds(cell: Cell, needed: int | None) -> int | None:
    """A single round does not show its spread, so how many are needed is not known yet."""
    return FIRST_ROUNDS if cell.least_rounds == 1 else needed


def _both(pair: Pair) -> tuple[Series, Series]:
    return pair.base, pair.head


@dataclass(frozen=True, slots=True)
class _Group:
    """A command of a family, and how many cases it measures."""

    words: Sequence[str]
    cases: int


def _grouped(sides: Sequence[Series], plan: Facts) -> list[_Group]:
    """As few commands as measure all; none if no command can measure one of them."""
    found: dict[tuple[str, ...], dict[str, dict[str, None]]] = {}
    try:
        for side in sides:
            words = case_command(side.case, side.first.method, plan)
            places = {name: words.index(name) for name in _LISTED if name in words}
            rest = [word for at, word in enumerate(words) if at - 1 not in places.values()]
            listed = found.setdefault(tuple(rest), {name: {} for name in places})
            for name, at in places.items():
                listed[name][words[at + 1]] = None
    except UsageError:
        return []
    return [_group(rest, listed) for rest, listed in found.items()]


def _group(rest: Sequence[str], listed: Mapping[str, Mapping[str, None]]) -> _Group:
    words, cases = list[str](), 1
    for word in rest:
        words += [word, *listed.get(word, ())]
    for values in listed.values():
        cases *= len(values)
    return _Group(words, cases)


def _commands(
    lines: Sequence[Sequence[str]],
    sides: tuple[Run, Run],
    store: Store,
    *,
    in_turns: bool,
    alike: bool,
) -> list[str]:
    base, head = sides
    if not alike:
        return list(map(shlex.join, lines)) if _code(base) == _code(head) else []
    if in_turns:
        first = _turns(sides, store)
        return [shlex.join([*first, "--", *line[1:]]) for line in lines]
    labels = dict.fromkeys(side.label for side in sides if side.label)
    return [shlex.join([*line, "--label", label]) for line in lines for label in labels] or list(
        map(shlex.join, lines)
    )


def _turns(sides: tuple[Run, Run], store: Store) -> list[str]:
    """The beginning of the `ab` command for both sides."""
    head = sides[1]
    family = next((at for at, word in enumerate(head.argv) if word in FAMILIES), None)
    if head.command == "ab" and family is not None:
        program, *words = (word for word in head.argv[:family] if word != "--")
        return [program, *split_db(words)[1]]  # `_database` says it once for all
    return ["attnbench", "ab", *_pythons(sides, store), *_variables(sides)]


def _pythons(sides: tuple[Run, Run], store: Store) -> list[str]:
    """The options that name the environments, with a placeholder for one that is not known."""
    base, head = sides
    if _code(base) == _code(head):
        return []
    paths = [store.plan(side.number).get("python") for side in sides]
    if paths[0] == paths[1] or base.machine.get("hostname") != head.machine.get("hostname"):
        paths[0] = None  # it is the head's environment, or on another computer
    named = zip(("base", "head"), paths, strict=True)
    return [
        word
        for side, path in named
        for word in (f"--{side}-python", str(path or f"{side.upper()}/bin/python"))
    ]


def _variables(sides: tuple[Run, Run]) -> list[str]:
    """The options that set the variables in which the environments differ."""
    values = [dict(side.environment["variables"]) for side in sides]  # type: ignore[call-overload]
    words = list[str]()
    for name, own, other in (("base", *values), ("head", *reversed(values))):
        changed = [f"{key}={value}" for key, value in own.items() if other.get(key) != value]
        words += [f"--{name}-env", *changed] if changed else []
    return words


def _code(run: Run) -> tuple[object, object]:
    """The code that it measured, without variables, which `ab` sets itself."""
    return run.source, {n: fact for n, fact in run.environment.items() if n != "variables"}


def _database(store: Store) -> list[str]:
    """The option of the database, unless it is the default."""
    default = Path(os.environ.get("ATTNBENCH_DB", "attnbench.db")).absolute()
    file = store.file
    return [] if file is None or file.absolute() == default else ["--db", str(file)]


def _seconds(sides: Sequence[Series], rounds: int) -> float | None:
    """Of so many rounds, each as long as a first one: what it prepares is not cached yet."""
    firsts = [sum(each.timed[0].outcome.durations.values()) for each in sides]
    known = [each for each in firsts if each > 0]
    return rounds * fmean(known) if known else None
