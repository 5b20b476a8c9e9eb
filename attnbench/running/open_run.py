"""A stored run while it is measured."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from types import TracebackType
from typing import Self

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError, DatabaseUnusable
from attnbench.note import Note
from attnbench.records import Outcome, RunStatus, Status
from attnbench.running.card import Awaited, Card
from attnbench.running.messages import Job, Probe
from attnbench.running.plan import Plan, by_workload
from attnbench.running.run_sentinels import RunSentinels
from attnbench.running.script import Known, Renew, Script, Turn, next_ask
from attnbench.running.settled import Settled
from attnbench.running.spool import Spool, patiently
from attnbench.running.workers import Workers
from attnbench.specs.case import Case
from attnbench.timing.finished import Finished
from attnbench.timing.method import Method

Arrived = tuple[Turn, Outcome, Card | None]  # the card if several share the run


class OpenRun:
    """Measures `begin`, scripts, `finish`; each outcome is stored before it is yielded.

    A context manager: leaving it before `finish` marks the run as interrupted.
    """

    def __init__(
        self,
        store: Store,
        run: int,
        plan: Plan,
        workers: Workers | Awaited,
        note: Note,
        cards: Sequence[Card] = (),
    ) -> None:
        self.store, self.run, self.plan, self.workers = store, run, plan, workers
        self.machine = workers.machine
        self.cards = cards  # that share it, if there are several; the first also stands for all
        self.settled = Settled(store.done(run))
        self._record = store.run(run)
        self._note, self._spool = note, Spool(store.file, self._record)
        self._known_places: dict[int, Mapping[Case, Sequence[tuple[int, Method]]]] = {}
        ask = partial(workers.sentinels_asked, plan.limits.measure)
        self._sentinels = RunSentinels(store, run, ask, note)
        self._ended = RunStatus.INTERRUPTED

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.workers.end()
        finish = partial(self.store.finish_run, self.run, self._ended)
        try:
            finish() if error else patiently(finish, self._note)
        except DatabaseUnusable as failure:
            if error is None:
                raise
            self._note(f"run {self.run} is still marked as running: {failure}")

    @cached_property
    def refused(self) -> dict[Case, Outcome]:
        """The plan's cases that cannot run here, with the outcome that says why."""
        return self.workers.refused(self.plan.cases)

    @property
    def planned(self) -> int:
        """Outcomes of all its rounds, if no case fails."""
        able = (case for case in self.plan.cases if case not in self.refused)
        return self.plan.rounds * sum(len(self.plan.methods_of(case)) for case in able)

    @property
    def remaining(self) -> int:
        """Outcomes that the rounds still have to give, if no case fails."""
        return sum(
            self.settled.left(case.key, method.key, self.plan.rounds)
            for case in self.plan.cases
            for method in self.plan.methods_of(case)
            if case not in self.refused
        )

    @property
    def succeeded(self) -> bool:
        """Whether something was measured, and all that can run here is ok."""
        statuses = self.settled.statuses
        return statuses[Status.OK] > 0 and not set(statuses) - {Status.OK, Status.REFUSED}

    def outcomes(self) -> Iterator[Finished]:
        """Measure what is left, on the run's own device."""
        yield from self.begin()
        yield from self.follow(self.sweep(self.plan.cases))
        self.finish()

    def begin(self) -> Iterator[Finished]:
        """Measure the sentinels and yield the cases that cannot run here.

        Of several cards the first does so while the others begin.
        """
        self._sentinels.begin()
        yield from self.follow(self._refusals(self.refused))

    def round(self, round_: int) -> Iterator[Finished]:
        """Measure the rest of a round."""
        yield from self.follow(self.turns(round_, self.plan.cases))

    def follow(self, script: Script) -> Iterator[Finished]:
        """Do what a script asks for, one after another."""
        answer: object = None
        while (ask := next_ask(script, answer)) is not None:
            answer = None
            match ask:
                case Turn():
                    outcome = self.workers.outcome(self.job(ask), self.plan.limits)
                    yield self.stored(ask, outcome)
                case Known(turn, outcome):
                    yield self.stored(turn, outcome)
                case Renew():
                    self.workers.end()
                case Probe(cases):
                    answer = self.workers.refused(cases)

    def sweep(self, cases: Collection[Case]) -> Script:
        """Measure what is left of these cases, round by round."""
        for round_ in range(self.plan.rounds):
            yield from self.turns(round_, cases)

    def turns(self, round_: int, cases: Collection[Case]) -> Script:
        """Measure the rest of a round of these cases, without those that failed or cannot run.

        If the methods isolate rounds, all but the first start in a fresh worker.
        """
        if round_ > 0 and any(method.isolate == "rounds" for method in self.plan.methods):
            yield Renew()
        places, first = self._places(round_ % 2), round_ * self.plan.num_places
        turns = (
            Turn(case, method, round_, first + place)
            for case in cases
            for place, method in places.get(case, ())
        )
        for turn in sorted(turns, key=lambda turn: turn.position):
            if self._is_left(turn):
                yield turn

    def _places(self, parity: int) -> Mapping[Case, Sequence[tuple[int, Method]]]:
        """The places within even or odd rounds, listed once for all groups of a deck."""
        if parity not in self._known_places:
            self._known_places[parity] = self.plan.places(parity)
        return self._known_places[parity]

    def add_cases(self, cases: Sequence[Case]) -> Script:
        """Add cases to the plan, and store those that cannot run here."""
        known = set(self.plan.cases)
        new = [case for case in dict.fromkeys(cases) if case not in known]
        if new:
            refused = yield Probe(tuple(new))
            self.plan = replace(self.plan, cases=by_workload([*self.plan.cases, *new]))
            self._known_places.clear()
            patiently(lambda: self.store.replan(self.run, self.plan.as_facts()), self._note)
            self.refused.update(refused)
            yield from self._refusals(refused)

    def finish(self) -> None:
        """Store the sentinels of the end: the run is then complete."""
        self._sentinels.end()
        self._ended = RunStatus.FINISHED

    def forget(self, cases: Collection[Case]) -> None:
        """Delete the outcomes of these cases: they begin again."""
        keys = [case.key for case in cases if case not in self.refused]
        patiently(lambda: self.store.forget(self.run, keys), self._note)
        self.settled = Settled(self.store.done(self.run))

    def _is_left(self, turn: Turn) -> bool:
        if turn.case in self.refused:
            return False
        return (turn.case.key, turn.method.key, turn.round) not in self.settled

    def job(self, turn: Turn) -> Job:
        """What a worker does for a place of the plan."""
        plan = self.plan
        return Job(
            turn.case,
            turn.method,
            seed=plan.seed + turn.round,
            num_layers=plan.num_layers,
            profile_memory=plan.profile_memory,
            host=plan.host,
            first=turn.round == 0,
        )

    def _refusals(self, refused: Mapping[Case, Outcome]) -> Script:
        """The cases that cannot run here, each once, with the first method."""
        for position, case in enumerate(refused):
            method = self.plan.methods_of(case)[0]
            if (case.key, method.key, 0) not in self.settled:
                yield Known(Turn(case, method, 0, position), refused[case])

    def stored(self, turn: Turn, outcome: Outcome) -> Finished:
        """Store an outcome of the run's own device at once."""
        return self.stored_all([(turn, outcome, None)])[0]

    def stored_all(self, arrived: Sequence[Arrived]) -> list[Finished]:
        """Store outcomes at once, in one transaction, each with its card if several share the run.

        A transaction takes ten milliseconds, and many cards may finish in that time.
        """
        self._sentinels.keep_start()
        finished = [self._finished(*each) for each in arrived]
        try:
            patiently(lambda: self.store.add_all(self.run, finished), self._note)
        except DatabaseUnusable as error:
            raise self._given_up(finished, error) from None
        for turn, outcome, _ in arrived:
            self.settled.add((turn.case.key, turn.method.key, turn.round), outcome.status)
        return finished

    def _finished(self, turn: Turn, outcome: Outcome, card: Card | None) -> Finished:
        finished = Finished(turn.case, turn.method, turn.round, turn.position, outcome)
        if card is None:
            return finished
        other = card.machine.key != self._record.machine_key
        return replace(finished, machine=card.machine if other else None, card=card.name)

    def _given_up(self, finished: Sequence[Finished], error: DatabaseUnusable) -> AttnbenchError:
        """The error that ends the run, once the outcomes are in files."""
        last = "outcome is" if len(finished) == 1 else f"{len(finished)} outcomes are"
        try:
            files = ", ".join(str(self._spool.write(each)) for each in finished)
            kept = f"the last {last} kept in {files}"
        except OSError as failure:
            kept = f"the last {last} lost ({failure})"
        return AttnbenchError(
            f"{error}\nGave up on the database; {kept}. --resume {self.run} stores "
            f"{'it' if len(finished) == 1 else 'them'} and measures the rest"
        )
