"""How a run is dealt out to several cards: what stays together, and what a lost one costs."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier, Event

import pytest

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.provenance.machine import Machine
from attnbench.provenance.source import Source
from attnbench.records import Outcome, Status
from attnbench.running import session, workers
from attnbench.running.card import Awaited
from attnbench.running.cards import local_cards
from attnbench.running.command import Command, source_of
from attnbench.running.dealer import measured
from attnbench.running.deck import deck_of
from attnbench.running.devices import local_devices
from attnbench.running.local_card import LocalCard
from attnbench.running.lock import device_lock
from attnbench.running.messages import Job
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Limits, Plan
from attnbench.running.session import sessions, start_run
from attnbench.running.workers import Place, WorkerDied
from attnbench.specs.case import Case
from attnbench.timing.method import Method
from tests.conftest import small_case
from tests.fake_worker import Does, FakeDevice, FakeWorker, command, right
from tests.stored_results import H100, H200

PLAN = Plan(
    tuple(
        small_case(spec=spec, backend=name)
        for spec in ("q1kv8", "q2", "q3", "q4", "q5", "q6")
        for name in ("naive", "sdpa")
    ),
    (Method("cudagraph"),),
    rounds=3,
)


@dataclass
class FakeCard(FakeDevice):
    """A device whose workers start only so often."""

    starts: int = 1000

    def start(self, device: str) -> FakeWorker:
        if len(self.workers) >= self.starts:
            raise WorkerDied("the GPU has fallen off the bus")
        return super().start(device)


def cards(*does: Mapping[str, Does], starts: int = 1000) -> list[FakeCard]:
    """Cards of one model; only the first has few starts."""
    machines = [replace(H200, gpu_uuid=f"GPU-{at}", device=f"cuda:{at}") for at in range(len(does))]
    found = [FakeCard(each, machine) for each, machine in zip(does, machines, strict=True)]
    found[0].starts = starts
    return found


@contextmanager
def crew(
    folder: Path, devices: list[FakeCard], run: int | None = None, plan: Plan = PLAN
) -> Iterator[OpenRun]:
    """A run, new or resumed, on these cards."""
    with Store.open(folder / "attnbench.db") as store, ExitStack() as stack:
        found = []
        for device in devices:
            card = LocalCard(device.machine.device, "auto", device.start, device.notes.append)
            stack.callback(card.close)
            card.greet().result()
            found.append(card)
        run = run or start_run(store, command(folder), plan, found[0], print)
        with OpenRun(store, run, plan, Awaited(found), print, found) as opened:
            yield opened


def deal(
    folder: Path, devices: list[FakeCard], run: int | None = None, plan: Plan = PLAN
) -> list[str]:
    """Measure what is left; the notes."""
    notes = list[str]()
    with crew(folder, devices, run, plan) as opened:
        list(measured([opened], deck_of, notes.append))
    return notes


def stored(folder: Path) -> dict[tuple[str, str, int], tuple[str | None, Status]]:
    """The card and status of every place of the plan; fails if one is stored twice."""
    with Store.open(folder / "attnbench.db", create=False) as store:
        found = store.measurements([1])
    places = {(str(m.case.batch), m.case.backend, m.round): (m.gpu_uuid, m.status) for m in found}
    assert len(places) == len(found)
    return places


def cards_of_workloads(folder: Path) -> dict[str, set[str | None]]:
    found = defaultdict[str, set[str | None]](set)
    for (batch, _, _), (card, _) in stored(folder).items():
        found[batch].add(card)
    return found


def test_every_place_is_measured_once_and_a_workload_on_one_card(tmp_path: Path) -> None:
    devices = cards({}, {}, {})
    deal(tmp_path, devices)
    assert len(stored(tmp_path)) == 6 * 2 * 3
    assert all(len(on) == 1 for on in cards_of_workloads(tmp_path).values())
    assert all(device.jobs for device in devices)


def test_a_card_measures_its_workloads_as_a_run_of_its_own_would(tmp_path: Path) -> None:
    devices = cards({}, {})
    more = [small_case(spec=f"q{n}", backend=b) for n in range(7, 11) for b in ("naive", "sdpa")]
    deal(tmp_path, devices, plan=replace(PLAN, cases=(*PLAN.cases, *more)))
    orders = defaultdict[str, list[str]](list)
    for device in devices:
        for job in device.jobs:
            orders[str(job.case.batch)].append(f"{job.case.backend} {job.seed}")
    abba = ["naive 0", "sdpa 0", "sdpa 1", "naive 1", "naive 2", "sdpa 2"]
    assert list(orders.values()) == [abba] * 10
    first = [str(job.case.batch) for job in devices[0].jobs[:4]]
    assert len(set(first)) == 2  # a round goes over all workloads of a hand


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    devices = cards({}, {})
    died = list[Job]()

    def once(job: Job) -> Outcome:
        if not died:
            died.append(job)
            devices[0].workers[-1].end()
            raise WorkerDied("the worker was ended by SIGKILL")
        return right(job)

    devices[0].does = {"naive": Does(once)}
    (note,) = deal(tmp_path, devices)
    assert note == "cuda:0: the worker was ended by SIGKILL; its case gets a second try"
    assert {status for _, status in stored(tmp_path).values()} == {Status.OK}
    assert len(stored(tmp_path)) == 36


def test_a_case_that_always_ends_its_worker_has_crashed(tmp_path: Path) -> None:
    devices = cards({"sdpa": Does(dies="SIGSEGV")}, {"sdpa": Does(dies="SIGSEGV")})
    deal(tmp_path, devices)
    statuses = Counter(status for _, status in stored(tmp_path).values())
    assert statuses == {Status.OK: 18, Status.CRASHED: 6}  # further rounds are not tried
    assert sum(job.case.backend == "sdpa" for d in devices for job in d.jobs) == 12


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PAUSES", (0.0,))


@pytest.mark.usefixtures("impatient")
def test_the_workloads_of_a_lost_card_begin_again_on_another(tmp_path: Path) -> None:
    lost = {"sdpa": Does(dies="Xid 79")}
    notes = deal(tmp_path, cards(lost, {}, starts=1))
    assert [note for note in notes if "is lost" in note] == [
        "cuda:0 is lost, its unfinished workloads start over: no worker starts (1 tries): the GPU "
        "has fallen off the bus. `attnbench doctor` shows what this machine lacks"
    ]
    assert {status for _, status in stored(tmp_path).values()} == {Status.OK}
    assert len(stored(tmp_path)) == 36
    assert set.union(*cards_of_workloads(tmp_path).values()) == {"GPU-1"}


@pytest.mark.usefixtures("impatient")
def test_a_case_that_costs_two_cards_has_crashed(tmp_path: Path) -> None:
    deadly = {"sdpa": Does(dies="Xid 79")}
    devices = cards(deadly, deadly, {})
    devices[0].starts = devices[1].starts = 1
    deal(tmp_path, devices, plan=replace(PLAN, cases=PLAN.cases[:2]))
    assert {(name, round_): found for (_, name, round_), found in stored(tmp_path).items()} == {
        ("sdpa", 0): ("GPU-1", Status.CRASHED),
        **{("naive", round_): ("GPU-2", Status.OK) for round_ in range(3)},
    }


@pytest.mark.usefixtures("impatient")
def test_a_run_that_loses_all_cards_is_resumed_where_it_was(tmp_path: Path) -> None:
    devices = cards({}, {})
    for device in devices:
        device.starts, device.does = 1, {"sdpa": Does(spoils=True)}
    with pytest.raises(AttnbenchError, match=r"no card is left \(cuda:.*--resume 1"):
        deal(tmp_path, devices)
    fresh = cards({}, {})
    deal(tmp_path, fresh, run=1)
    assert len(stored(tmp_path)) == 36
    assert all(len(on) == 1 for on in cards_of_workloads(tmp_path).values())


def interrupted(folder: Path, devices: list[FakeCard], after: int) -> None:
    """A run of which so many outcomes were stored."""
    with suppress(KeyboardInterrupt), crew(folder, devices) as run:
        for count, _ in enumerate(measured([run], deck_of, print), 1):
            if count == after:
                raise KeyboardInterrupt


def test_a_resumed_workload_goes_on_on_its_card(tmp_path: Path) -> None:
    interrupted(tmp_path, cards({}, {}), after=10)
    before = stored(tmp_path)
    devices = cards({}, {})
    deal(tmp_path, devices, run=1)
    after = stored(tmp_path)
    assert len(after) == 36
    assert {place: after[place] for place in before} == before
    assert sum(len(device.jobs) for device in devices) == 36 - len(before)
    assert all(len(on) == 1 for on in cards_of_workloads(tmp_path).values())


def test_a_workload_whose_card_is_not_there_on_resume_begins_again(tmp_path: Path) -> None:
    interrupted(tmp_path, cards({}, {}), after=10)
    deal(tmp_path, cards({}, {})[1:], run=1)
    assert len(stored(tmp_path)) == 36
    assert all(len(on) == 1 for on in cards_of_workloads(tmp_path).values())


def test_a_workload_returns_to_the_card_that_measured_it_in_an_earlier_run(tmp_path: Path) -> None:
    first, second = PLAN.cases[:2], PLAN.cases[2:4]
    for cases, at in ((first, 1), (second, 0)):
        deal(tmp_path, [cards({}, {})[at]], plan=replace(PLAN, cases=cases))
    devices = cards({}, {})
    deal(tmp_path, devices, plan=replace(PLAN, cases=first + second))
    measured_by = [{job.case for job in device.jobs} for device in devices]
    assert measured_by == [set(second), set(first)]


def lasting(seconds: float) -> Does:
    """A kernel whose rounds took so long, as the outcome says."""
    return Does(lambda job: replace(right(job), durations={"time": seconds}))


def test_the_workloads_that_took_longest_in_an_earlier_run_come_first(tmp_path: Path) -> None:
    for cases, seconds in ((PLAN.cases[:10], 1.0), (PLAN.cases[10:], 9.0)):
        one = cards({"naive": lasting(seconds), "sdpa": lasting(seconds)})
        deal(tmp_path, one, plan=replace(PLAN, cases=cases))
    devices = cards({}, {})
    for at, device in enumerate(devices, 7):  # cards that have not measured them before
        device.machine = replace(H200, gpu_uuid=f"GPU-{at}", device=f"cuda:{at}")
    deal(tmp_path, devices)
    first = [str(job.case.batch) for job in devices[0].jobs[:6]]
    assert first == ["q6"] * 6


def test_few_workloads_are_dealt_one_by_one(tmp_path: Path) -> None:
    devices = cards({}, {})
    deal(tmp_path, devices, plan=replace(PLAN, cases=PLAN.cases[:10]))
    for device in devices:
        batches = [str(job.case.batch) for job in device.jobs]
        assert batches == [each for each in dict.fromkeys(batches) for _ in range(2 * 3)]


def test_isolated_rounds_have_fresh_workers_and_large_shares(tmp_path: Path) -> None:
    devices = cards({}, {})
    deal(tmp_path, devices, plan=PLAN.isolated())
    assert [[len(w.jobs) for w in d.workers if w.jobs] for d in devices] == [[6, 6, 6], [6, 6, 6]]


BROKEN = Does(lambda _: Outcome(Status.ERROR, "CUDA error: unspecified launch failure"))


def test_a_card_that_fails_everything_does_not_fail_what_others_can_measure(tmp_path: Path) -> None:
    broken = cards({}, {})
    broken[0].does, broken[0].has_sentinels = {"naive": BROKEN, "sdpa": BROKEN}, False
    notes = deal(tmp_path, broken)
    assert any(note.startswith("cuda:0 is lost") and "SIGSEGV" in note for note in notes)
    assert len(stored(tmp_path)) == 36
    assert {status for _, status in stored(tmp_path).values()} == {Status.OK}


def test_cases_that_fail_on_a_card_that_works_are_to_blame(tmp_path: Path) -> None:
    devices = cards({"naive": BROKEN, "sdpa": BROKEN}, {"naive": BROKEN, "sdpa": BROKEN})
    assert not [note for note in deal(tmp_path, devices) if "lost" in note]
    assert Counter(status for _, status in stored(tmp_path).values()) == {Status.ERROR: 12}


def models(*machines: Machine) -> Callable[[str], FakeWorker]:
    """Starts workers of these machines, each found by its device."""
    found = {machine.device: FakeDevice(machine=machine) for machine in machines}
    return lambda device: found[device].start(device)


TWO_MODELS = models(
    replace(H200, gpu_uuid="GPU-0"),
    replace(H200, gpu_uuid="GPU-1", device="cuda:1"),
    replace(H100, device="cuda:2"),
)


@contextmanager
def of_two_models(
    folder: Path, notes: list[str], resume: str | None = None
) -> Iterator[list[OpenRun]]:
    asked = command(folder, devices=["cuda:0", "cuda:1", "cuda:2"], resume=resume)
    with sessions(asked, lambda _: PLAN, notes.append, TWO_MODELS) as runs:
        yield runs


@pytest.mark.usefixtures("own_lock")
def test_each_model_has_a_run_and_measures_everything_once(tmp_path: Path) -> None:
    with of_two_models(tmp_path, []) as runs:
        assert [[card.name for card in run.cards] for run in runs] == [
            ["cuda:0", "cuda:1"],
            ["cuda:2"],
        ]
        list(measured(runs, deck_of, print))
        store = runs[0].store
        assert [store.run(number).machine_name for number in (1, 2)] == [H200.name, H100.name]
        assert [len(store.measurements([number])) for number in (1, 2)] == [36, 36]


@pytest.mark.usefixtures("own_lock")
def test_all_cards_load_their_libraries_at_once(tmp_path: Path) -> None:
    together = Barrier(3, timeout=10)

    class Loads(FakeWorker):
        def probe(self, cases: Sequence[Case]) -> Sequence[Outcome | None]:
            if not self.probed:
                together.wait()
            return super().probe(cases)

    machines = [replace(H200, gpu_uuid=f"GPU-{at}", device=f"cuda:{at}") for at in range(3)]
    found = {each.device: FakeDevice(machine=each) for each in machines}
    asked = command(tmp_path, devices=list(found))
    with sessions(asked, lambda _: PLAN, print, lambda d: Loads(found[d], d)) as (run,):
        assert run.remaining == 36


@pytest.mark.usefixtures("own_lock")
def test_cards_load_their_libraries_while_git_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = Event()

    class Loads(FakeWorker):
        def probe(self, cases: Sequence[Case]) -> Sequence[Outcome | None]:
            loading.set()
            return super().probe(cases)

    def slowly(asked: Command, worker: Place) -> Source:
        assert loading.wait(10)
        return source_of(asked, worker)

    monkeypatch.setattr(session, "source_of", slowly)
    machines = [replace(H200, gpu_uuid=f"GPU-{at}", device=f"cuda:{at}") for at in range(2)]
    found = {each.device: FakeDevice(machine=each) for each in machines}
    asked = command(tmp_path, devices=list(found))
    with sessions(asked, lambda _: PLAN, print, lambda d: Loads(found[d], d)) as (run,):
        assert run.remaining == 36


@pytest.mark.usefixtures("own_lock")
def test_a_slow_start_of_several_cards_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SOON", 0.05)
    all_started = Barrier(3, timeout=10)
    notes = list[str]()

    def start(device: str) -> FakeWorker:
        Event().wait(0.2)
        all_started.wait()
        return TWO_MODELS(device)

    asked = command(tmp_path, devices=["cuda:0", "cuda:1", "cuda:2"])
    with sessions(asked, lambda _: PLAN, notes.append, start):
        (note,) = notes
    assert re.fullmatch(r"cuda:\d: starting a worker, which imports torch, for 0 s so far", note)


@pytest.mark.usefixtures("own_lock")
def test_a_card_that_is_ready_does_not_wait_for_the_first(tmp_path: Path) -> None:
    begun = Event()

    class Loads(FakeWorker):
        def probe(self, cases: Sequence[Case]) -> Sequence[Outcome | None]:
            self.wait_for_the_other()
            return super().probe(cases)

        def sentinels(self, limit: float) -> Mapping[str, float | None]:
            self.wait_for_the_other()
            return super().sentinels(limit)

        def run(self, job: Job, limits: Limits) -> Outcome:
            begun.set()
            return super().run(job, limits)

        def wait_for_the_other(self) -> None:
            assert self.asked == "cuda:1" or begun.wait(timeout=10)

    machines = [replace(H200, gpu_uuid=f"GPU-{at}", device=f"cuda:{at}") for at in range(2)]
    found = {each.device: FakeDevice(machine=each) for each in machines}
    asked = command(tmp_path, devices=list(found))
    with sessions(asked, lambda _: PLAN, print, lambda d: Loads(found[d], d)) as (run,):
        list(measured([run], deck_of, print))
        assert len(run.store.measurements([1])) == 36
        assert set(run.store.sentinels(1)) == {"start", "end"}


@pytest.mark.usefixtures("own_lock")
def test_one_of_two_models_is_resumed_on_its_cards(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), of_two_models(tmp_path, []) as runs:
        for count, _ in enumerate(measured(runs, deck_of, print)):
            if count == 20:
                raise KeyboardInterrupt
    notes = list[str]()
    with of_two_models(tmp_path, notes, resume="2") as runs:
        list(measured(runs, deck_of, print))
    assert [run.run for run in runs] == [2]
    assert notes == ["cuda:0, cuda:1: not of the model and versions of run 2; left out"]
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert len(store.measurements([2])) == 36


@pytest.mark.usefixtures("own_lock")
def test_a_busy_card_is_left_out_of_all_and_an_error_by_name(tmp_path: Path) -> None:
    busy = replace(H200, gpu_uuid="GPU-1", device="cuda:1")
    devices = local_devices(["cuda:0", "cuda:1"])
    notes = list[str]()
    with device_lock(busy, wait=False, note=print):
        named = command(tmp_path, devices=["cuda:0", "cuda:1"])
        with pytest.raises(AttnbenchError, match="is measuring on NVIDIA H200"):
            local_cards(named, devices, notes.append, TWO_MODELS).__enter__()
        every = replace(named, devices=["all"])
        with local_cards(every, devices, notes.append, TWO_MODELS) as found:
            assert [card.name for card in found] == ["cuda:0"]
    (note,) = notes
    assert note.startswith("cuda:1 is left out: another attnbench")
