"""How long stored runs would have taken on several GPUs: python benchmarks/dealing.py DB...

The product's own code deals the stored cases out to cards that pretend to measure, in virtual time:
an outcome takes as long as it came after the one before it of its card, and every card imports
libraries for as long as the run did before its first outcome. First compilations, which each GPU
makes for itself, are not repeated. Of a search only the cases that it measured are dealt. Needs no
GPU.
"""

import argparse
import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from tabulate import tabulate

from attnbench.db.store import Store
from attnbench.provenance.environment import Environment
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Outcome, RunStatus, Status
from attnbench.running.card import Awaited
from attnbench.running.dealer import Dealer
from attnbench.running.deck import Deck, Group, deck_of
from attnbench.running.messages import Job
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Limits, Plan
from attnbench.specs.case import Case
from attnbench.studies.deck import study_deck

CARDS = (2, 4, 8)
H200 = Machine("cuda", "cuda:0", "NVIDIA H200", "GPU-0", (9, 0), hostname="pretended")
SOURCE = Source("working directory", "repo", "main", "a" * 40, None, "pretended", "/repo")

# Seconds of a case's rounds, in the order of their methods, by the case's key.
Rounds = Mapping[tuple[str, int], Sequence[float]]


@dataclass(frozen=True)
class Stored:
    """A run that was stored."""

    label: str
    plan: Plan
    cards: int
    took: float  # seconds, on its cards
    rounds: Rounds
    before: float  # seconds until a card's first outcome began
    after: float  # and from the last to the end

    @property
    def work(self) -> float:
        return sum(map(sum, self.rounds.values()))


class Clock:
    """Virtual time: what is due next, and when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Future[Any], Any]] = []
        self._count = 0

    def answer(self, at: float, answer: object) -> Future[Any]:
        """A future that is done at that time."""
        self._count += 1
        future = Future[Any]()
        heappush(self._due, (at, self._count, future, answer))
        return future

    def next(self) -> Future[Any]:
        """The future that is done next."""
        self.now, _, future, answer = heappop(self._due)
        future.set_result(answer)
        return future


class PretendedCard:
    """A card that takes as long as the stored run did."""

    environment, python = Environment("3.12"), "python"
    source: Source | None = None

    def __init__(self, clock: Clock, number: int, run: Stored) -> None:
        self.name = f"cuda:{number}"
        self.machine = replace(H200, device=self.name, gpu_uuid=f"GPU-{number}")
        self._clock, self._free = clock, run.before
        self._left = {place: list(seconds) for place, seconds in run.rounds.items()}

    def refused(self, cases: Sequence[Case]) -> Future[Mapping[Case, Outcome]]:
        return self._clock.answer(self._clock.now, {})

    def sentinels(self, limit: float) -> Future[Mapping[str, float | None]]:
        return self._clock.answer(self._clock.now, {})

    def outcome(self, job: Job, limits: Limits) -> Future[Outcome]:
        left = self._left.get((job.case.key, job.seed))
        seconds = left.pop(0) if left else 0.0
        self._free = max(self._free, self._clock.now) + seconds
        done = Outcome(Status.OK, samples=(1e-5,) * 3, durations={"time": seconds})
        return self._clock.answer(self._free, done)

    def renew(self) -> None:
        """Its worker stays."""

    def close(self) -> None:
        """Nothing runs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="+", metavar="DB")
    parser.add_argument("--runs", type=int, nargs="+", help="only these, of the first database")
    parser.add_argument("--output", type=Path, help="write the rows here, as JSON")
    asked = parser.parse_args()
    rows = [
        row_of(run)
        for database in asked.databases
        for number in asked.runs or finished_runs(database)
        if (run := stored(database, number)).work
    ]
    print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".1f"))
    if asked.output is not None:
        asked.output.write_text(json.dumps(rows, indent=1) + "\n")


def finished_runs(database: str) -> list[int]:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT number FROM run WHERE status = 'finished' ORDER BY number"
        return [number for (number,) in connection.execute(query)]


def stored(database: str, number: int) -> Stored:
    """A run with the seconds from outcome to outcome of a card."""
    with closing(sqlite3.connect(database)) as connection:
        query = (
            "SELECT c.key, m.round, m.durations, coalesce(m.machine_id, r.machine_id),"
            " (julianday(m.stored) - julianday(r.started)) * 86400 FROM measurement m"
            " JOIN run r ON r.number = m.run JOIN 'case' c ON c.id = m.case_id"
            " WHERE r.number = ? AND m.status = 'ok' ORDER BY m.stored, m.position"
        )
        rows = connection.execute(query, [number]).fetchall()
        query = "SELECT label, (julianday(finished) - julianday(started)) * 86400 FROM run"
        label, total = connection.execute(f"{query} WHERE number = ?", [number]).fetchone()
    rounds = defaultdict[tuple[str, int], list[float]](list)
    began, last = dict[int, float](), dict[int, float]()
    for key, round_, durations, card, at in rows:
        if card not in began:
            began[card] = last[card] = at - sum(json.loads(durations).values())
        rounds[key, round_].append(at - last[card])
        last[card] = at
    with Store.open(database) as store:
        plan = Plan.from_facts(store.plan(number))
    cases = tuple(case for case in plan.cases if any(case.key == key for key, _ in rounds))
    return Stored(
        label or f"run {number}",
        replace(plan, cases=cases, seed=0),
        len(began),
        total,
        rounds,
        before=fmean(began.values()),
        after=total - max(last.values()),
    )


def row_of(run: Stored) -> dict[str, object]:
    """How many times as fast on several cards: new workloads / once known / the best there is."""
    alone = run.before + run.work + run.after
    row: dict[str, object] = {
        "run": run.label,
        "cards": run.cards,
        "took s": run.took,
        "one card s": alone,
        "before s": run.before,
    }
    for count in CARDS:
        with TemporaryDirectory() as folder, Store.open(str(Path(folder, "d.db"))) as store:
            new, longest = seconds_on(store, run, count)
            again, _ = seconds_on(store, run, count)
        best = run.before + run.after + max(run.work / count, longest)
        row[f"{count} cards"] = " / ".join(f"{alone / each:.2f}" for each in (new, again, best))
    return row


def seconds_on(store: Store, run: Stored, count: int) -> tuple[float, float]:
    """Seconds of the run on so many cards, and of its longest group alone."""
    clock = Clock()
    cards = [PretendedCard(clock, number, run) for number in range(count)]
    number = store.start_run(
        command="attn",
        argv=["benchmarks/dealing.py"],
        label=run.label,
        options={},
        plan=run.plan.as_facts(),
        machine=cards[0].machine,
        environment=PretendedCard.environment,
        source=SOURCE,
    )
    opened = OpenRun(store, number, run.plan, Awaited(cards), print, cards)
    opened.refused = {}
    groups = groups_of(opened, run.rounds)
    dealer = Dealer([opened], Deck(groups), print)
    list(dealer.begin())
    while dealer.waiting:
        list(dealer.answered([clock.next()]))
    store.finish_run(number, RunStatus.FINISHED)
    return clock.now + run.after, max(seconds_of(group, run.rounds) for group in groups)


def groups_of(run: OpenRun, rounds: Rounds) -> list[Group]:
    """What stays on one card, of the cases that were measured."""
    measured = {key for key, _ in rounds}
    deck = deck_of(run) if run.plan.study is None else study_deck(run)
    groups = [tuple(case for case in group if case.key in measured) for group in deck.groups]
    return [group for group in groups if group]


def seconds_of(group: Collection[Case], rounds: Rounds) -> float:
    keys = {case.key for case in group}
    return sum(sum(seconds) for (key, _), seconds in rounds.items() if key in keys)


if __name__ == "__main__":
    main()
