"""Dealing a run out to several cards, each of which gets more as soon as it is free.

All decisions, and all writing, happen here, in one thread; cards only answer. A card gets several
groups at once and measures their rounds as a run of its own would; the less is left, the fewer it
gets.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from attnbench.errors import AttnbenchError
from attnbench.note import Note
from attnbench.records import Outcome, Status
from attnbench.running.card import Card, CardLost
from attnbench.running.deck import Deck, Group
from attnbench.running.hand import Ask, Hand, Seat
from attnbench.running.messages import MeasureSentinels, Probe
from attnbench.running.open_run import Arrived, OpenRun
from attnbench.running.pile import Pile
from attnbench.running.script import Known, Renew, Turn, next_ask
from attnbench.running.workers import WorkerDied, WorkerTimedOut
from attnbench.specs.case import Case
from attnbench.timing.finished import Finished

_MOST_LOSSES = 2  # cards that a case may cost before it counts as crashed
# Failures in a row after which a card must show that it still works: a broken one fails quickly,
# and would fail all that is left while the others measure.
_SUSPECT = 3
_FAILURES = (Status.ERROR, Status.CRASHED)

StoredOutcome = tuple[OpenRun, Finished]


class Dealer:
    """Deals the groups of a deck out to the cards of a run, or of runs that take turns.

    A case whose worker dies gets a second try, in a fresh worker of its card. The groups of a card
    that is lost begin again on the others; a case that costs a second card has crashed.
    """

    def __init__(self, runs: Sequence[OpenRun], deck: Deck, note: Note) -> None:
        self._runs, self._deck, self._note = runs, deck, note
        self._seats: list[Seat] = list(zip(*(run.cards for run in runs), strict=True))
        self._fresh = {*self._seats}  # their workers, of the first run, have measured nothing
        self._pile = Pile()
        self.waiting: dict[Future[Any], Hand] = {}
        self._losses = Counter[str]()  # cards that a case has cost, by its key
        self._lost: list[str] = []
        self._failed: dict[str, list[Case]] = {}  # by card, in a row

    def begin(self) -> Iterator[StoredOutcome]:
        """Give every card its first groups."""
        self._sort()
        yield from self._deal()

    def answered(self, futures: Sequence[Future[Any]]) -> Iterator[StoredOutcome]:
        """Store the outcomes that have come, in one transaction, and go on with their cards."""
        hands = [(self.waiting.pop(future), future) for future in futures]
        for side in range(len(self._runs)):
            arrived = [
                (hand.ask, future.result(), hand.card)
                for hand, future in hands
                if hand.side == side and isinstance(hand.ask, Turn) and _is_final(hand, future)
            ]
            yield from self._store(side, arrived)
        for hand, future in hands:
            yield from self._go_on_after(hand, future)
        yield from self._deal()

    def _store(self, side: int, arrived: Sequence[Arrived]) -> Iterator[StoredOutcome]:
        run = self._runs[side]
        if arrived:
            yield from ((run, each) for each in run.stored_all(arrived))

    def check_done(self) -> None:
        """Raise AttnbenchError if no card is left for some groups."""
        if self._pile.groups:
            raise AttnbenchError(
                f"no card is left ({'; '.join(self._lost)}); --resume {self._runs[0].run} measures "
                "the rest"
            )

    def _sort(self) -> None:
        """Give groups that were begun back to their machine; without it they begin again."""
        here, store = {seat[0].machine.key for seat in self._seats}, self._runs[0].store
        of_case = [store.cards(run.run) for run in self._runs]
        for group in filter(self._is_left, self._deck.groups):
            on = {
                machines[case.key]
                for run, machines in zip(self._runs, of_case, strict=True)
                for case in (group if machines else ())
                if case.key in machines and case not in run.refused
            }
            if len(on) == 1 and on <= here:
                self._pile.begun.setdefault(on.pop(), []).append(group)
            else:
                self._begin_again([group] if on else [])
                self._pile.groups.append(group)
        firsts = [group[0].key for group in self._pile.groups]
        self._pile.remember(store.last_cards(firsts, here))
        cases, model = [case.key for case in self._deck.cases], self._seats[0][0].machine.model_key
        self._pile.expect(store.seconds_a_round(cases, model))

    def _is_left(self, group: Group) -> bool:
        """Whether its script has anything to do."""
        asks = self._deck.script(self._runs[0], group)
        return any(not isinstance(ask, Renew) for ask in asks)

    def _begin_again(self, groups: Sequence[Group]) -> None:
        """Delete what was measured of these groups."""
        for run in self._runs if groups else ():
            run.forget([case for group in groups for case in group])

    def _deal(self) -> Iterator[StoredOutcome]:
        """Give every free device its next groups."""
        for seat in self._seats:
            while self._is_free(seat) and (groups := self._take(seat)):
                cases = [case for group in groups for case in group]
                hand = Hand(seat, groups, self._deck.script(self._runs[0], cases))
                yield from self._go_on(hand, None)

    def _is_free(self, seat: Seat) -> bool:
        return all(hand.seat is not seat for hand in self.waiting.values())

    def _take(self, seat: Seat) -> list[Group]:
        methods = self._runs[0].plan.methods
        slow_turns = any(each.traces or each.isolate == "rounds" for each in methods)
        num_free = sum(map(self._is_free, self._seats)) if slow_turns else None
        return self._pile.take(seat[0], [each[0] for each in self._seats], num_free)

    def _go_on(self, hand: Hand, answer: object) -> Iterator[StoredOutcome]:
        """Follow a hand's script until its card has something to do, or the hand is done."""
        while (ask := next_ask(hand.script, answer)) is not None:
            answer = None
            match ask:
                case Known(turn, outcome):
                    yield from self._store(hand.side, [(turn, outcome, None)])
                case Renew(side):
                    if side != 0 or hand.seat not in self._fresh:
                        for card in hand.seat:
                            card.renew()
                    hand.side = side
                case Turn() | Probe():
                    self._ask(hand, ask)
                    return

    def _ask(self, hand: Hand, ask: Ask) -> None:
        run, card = self._runs[hand.side], hand.card
        hand.ask, limits = ask, run.plan.limits
        match ask:
            case Turn():
                self._fresh.discard(hand.seat)
                self.waiting[card.outcome(run.job(ask), limits)] = hand
            case Probe(cases):
                self.waiting[card.refused(cases)] = hand
            case MeasureSentinels():
                self.waiting[card.sentinels(limits.measure)] = hand

    def _go_on_after(self, hand: Hand, future: Future[Any]) -> Iterator[StoredOutcome]:
        try:
            answer = future.result()
        except (CardLost, WorkerDied, WorkerTimedOut) as error:
            yield from self._lose(hand, str(error))
            return
        match hand.ask:
            case Turn() as turn if not _is_final(hand, future):
                self._note(f"{hand.card.name}: {answer.reason}; its case gets a second try")
                hand.again = hand.side, turn
                self._ask(hand, turn)
            case Turn(case) if self._is_suspect(hand.card, case, answer.status):
                self._ask(hand, MeasureSentinels())
            case Probe():
                yield from self._go_on(hand, answer)
            case _:
                if isinstance(hand.ask, MeasureSentinels):
                    self._failed[hand.card.name].clear()  # it works: the cases are to blame
                yield from self._go_on(hand, None)

    def _is_suspect(self, card: Card, case: Case, status: Status) -> bool:
        """Whether so much has failed on a card that it must show that it still works."""
        failed = self._failed.setdefault(card.name, [])
        if status in _FAILURES:
            failed.append(case)
        elif status is Status.OK:
            failed.clear()
        return len(failed) >= _SUSPECT

    def _lose(self, hand: Hand, why: str) -> Iterator[StoredOutcome]:
        """Go on without a card; what it has begun begins again elsewhere."""
        self._seats.remove(hand.seat)
        self._lost.append(f"{hand.card.name}: {why}")
        self._note(f"{hand.card.name} is lost, its unfinished workloads start over: {why}")
        hand.script.close()
        failed = set(self._failed.pop(hand.card.name, []))
        groups = [group for group in hand.groups if self._is_left(group)]
        groups += [g for g in self._deck.groups if g not in groups and not failed.isdisjoint(g)]
        if hand.card.machine.key not in {seat[0].machine.key for seat in self._seats}:
            groups += self._pile.begun.pop(hand.card.machine.key, [])
        self._begin_again(groups)
        self._pile.groups[:0] = groups
        if isinstance(hand.ask, Turn):
            yield from self._blamed(hand, hand.ask, why)

    def _blamed(self, hand: Hand, turn: Turn, why: str) -> Iterator[StoredOutcome]:
        """The case that a card was lost with has crashed if another card was lost with it too."""
        self._losses[turn.case.key] += 1
        if self._losses[turn.case.key] >= _MOST_LOSSES:
            reason = f"{_MOST_LOSSES} cards were lost while they measured it; the last: {why}"
            crashed = Outcome(Status.CRASHED, reason)
            yield from self._store(hand.side, [(turn, crashed, hand.card)])


def _is_final(hand: Hand, future: Future[Any]) -> bool:
    """Whether an outcome has come that is to be stored: not where a worker died the first time."""
    if future.exception() is not None:
        return False
    died = future.result().status is Status.CRASHED
    return not died or hand.again == (hand.side, hand.ask)


def measured(
    runs: Sequence[OpenRun], deck_for: Callable[[OpenRun], Deck], note: Note
) -> Iterator[StoredOutcome]:
    """Measure what runs have left: one on its own device, or several, each dealt to its cards.

    Raises AttnbenchError, once the others are done, if a run has no card left.
    """
    for run in runs:
        yield from ((run, each) for each in run.begin())
    decks = [(run, deck_for(run)) for run in runs]
    yield from dealt([Dealer([run], deck, note) for run, deck in decks if run.cards])
    for run, deck in decks:
        if not run.cards:
            yield from ((run, each) for each in run.follow(deck.script(run, deck.cases)))
        run.finish()


def dealt(dealers: Sequence[Dealer]) -> Iterator[StoredOutcome]:
    """Let every dealer deal, and hand it the answers of its cards as they come."""
    for dealer in dealers:
        yield from dealer.begin()
    while waiting := {future: dealer for dealer in dealers for future in dealer.waiting}:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for dealer in dealers:
            if answers := [future for future in done if waiting[future] is dealer]:
                yield from dealer.answered(answers)
    for dealer in dealers:
        dealer.check_done()
