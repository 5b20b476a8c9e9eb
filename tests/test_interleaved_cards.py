"""Runs that take turns on several cards: what stays together, and what is measured again."""

import re
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pytest

from attnbench.commands.measuring import show_runs
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.environment import Component
from attnbench.provenance.machine import Machine
from attnbench.records import RunStatus, Status
from attnbench.running.dealer import StoredOutcome
from attnbench.running.devices import LocalDevice
from attnbench.running.interleaved import Side, interleaved, turns
from attnbench.running.interleaved_cards import interleaved_on_cards
from attnbench.running.plan import Plan
from attnbench.running.workers import WorkerDied
from attnbench.timing.method import Method
from tests.conftest import Attnbench, small_case
from tests.fake_worker import Does, FakeDevice, FakeWorker, command
from tests.stored_results import ENVIRONMENT, H100, H200
from tests.terminal import Terminal

pytestmark = pytest.mark.usefixtures("own_lock")

BATCHES = ("q1kv8", "q2", "q3", "q4")
PLAN = Plan(
    tuple(small_case(spec=spec, backend=name) for spec in BATCHES for name in ("naive", "sdpa")),
    (Method("cudagraph"),),
    rounds=3,
).isolated()


@dataclass
class Host:
    """Two GPUs, on which workers of two builds start."""

    machines: Sequence[Machine] = tuple(
        replace(H200, gpu_uuid=f"GPU-{at}", device=f"cuda:{at}") for at in range(2)
    )
    does: Mapping[str, Does] = field(default_factory=dict)
    most_starts: Mapping[str, int] = field(default_factory=dict)  # by device
    is_exclusive: bool = False  # each takes one worker at a time
    started: dict[str, list[tuple[str, FakeWorker]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def side(self, label: str, torch: str = "2.11.0") -> Side:
        software = replace(ENVIRONMENT, components={"torch": Component(torch)})
        gpus = {
            machine.device: FakeDevice(self.does, machine, software) for machine in self.machines
        }

        def start(device: str) -> FakeWorker:
            workers = self.started.setdefault(device, [])
            if len(workers) >= self.most_starts.get(device, 1000):
                raise WorkerDied("the GPU has fallen off the bus")
            # The first waits, idle, while the other build says what it is.
            first_waits = len(workers) == 1 and not self.is_exclusive
            assert first_waits or all(worker.ended for _, worker in workers)
            workers.append((label, gpus[device].start(device)))
            return workers[-1][1]

        return Side(label, start)

    def outcomes(self, folder: Path, **asked: Any) -> Generator[StoredOutcome]:
        """Those of builds a and b, while they are measured."""
        devices = [LocalDevice(each.device, each.device) for each in self.machines]
        asked = {"name": "ab", "devices": ["cuda:0", "cuda:1"]} | asked
        sides = [self.side("a"), self.side("b", asked.pop("torch", "2.11.0"))]
        return interleaved_on_cards(
            command(folder, **asked), devices, sides, lambda _: PLAN, self.notes.append
        )

    def compare(self, folder: Path, stop_after: int | None = None, **asked: Any) -> None:
        """Measure builds a and b, or so many outcomes of them."""
        with closing(self.outcomes(folder, **asked)) as outcomes:
            for at, _ in enumerate(outcomes, 1):
                if at == stop_after:
                    break

    def turns_on(self, device: str) -> list[tuple[str, int]]:
        """Build and round of each worker there that had jobs."""
        found = [(label, worker.jobs) for label, worker in self.started[device] if worker.jobs]
        assert all(len({job.seed for job in jobs}) == 1 for _, jobs in found)
        return [(label, jobs[0].seed) for label, jobs in found]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnbench.running.workers.PAUSES", (0.0, 0.0))


Place = tuple[int, str, str, int]


def stored(folder: Path) -> dict[Place, str]:
    """The UUID of the card of each outcome; fails if one is stored twice."""
    with Store.open(folder / "attnbench.db", create=False) as store:
        assert [run.label for run in store.runs()] == ["a", "b"]
        found = store.measurements([1, 2], pool=True)
    places = {(m.run, str(m.case.batch), m.case.backend, m.round): str(m.gpu_uuid) for m in found}
    assert len(places) == len(found)
    return places


def on_cards(folder: Path) -> dict[str, set[str]]:
    """The cards of each workload, of both runs."""
    found: dict[str, set[str]] = {}
    for (_, batch, _, _), card in stored(folder).items():
        found.setdefault(batch, set()).add(card)
    return found


def test_both_sides_of_a_workload_are_measured_in_turns_on_one_card(tmp_path: Path) -> None:
    host = Host()
    host.compare(tmp_path)
    assert len(stored(tmp_path)) == 2 * 4 * 2 * 3
    assert sorted(map(sorted, on_cards(tmp_path).values())) == [["GPU-0"]] * 2 + [["GPU-1"]] * 2
    order = [("ab"[side], round_) for round_, side in turns(3, 2)]
    assert [host.turns_on(device) for device in ("cuda:0", "cuda:1")] == [order, order]
    # One for b to say what it is, one for each turn, and one for the sentinels of a's end.
    assert [len(host.started[device]) for device in ("cuda:0", "cuda:1")] == [1 + 6 + 1, 1 + 6]
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert {run.status for run in store.runs()} == {RunStatus.FINISHED}
        assert [set(store.sentinels(run)) for run in (1, 2)] == [{"start", "end"}] * 2
        assert len({store.plan(run)["interleaved"] for run in (1, 2)}) == 1


@pytest.mark.usefixtures("exclusive_gpu")
def test_gpus_that_take_one_process_have_one_worker_at_a_time(tmp_path: Path) -> None:
    host = Host(is_exclusive=True)
    host.compare(tmp_path)
    assert len(stored(tmp_path)) == 2 * 4 * 2 * 3
    assert [len(host.started[device]) for device in ("cuda:0", "cuda:1")] == [2 + 6 + 1, 2 + 6]


def test_what_a_lost_card_has_begun_begins_again_on_the_other_for_both_sides(
    tmp_path: Path,
) -> None:
    # The first card starts both builds, and has one turn of each.
    host = Host(most_starts={"cuda:0": 4})
    host.compare(tmp_path)
    assert any("cuda:0 is lost" in note for note in host.notes)
    assert len(stored(tmp_path)) == 2 * 4 * 2 * 3
    assert set().union(*on_cards(tmp_path).values()) == {"GPU-1"}


@pytest.mark.parametrize("outcomes", [1, 5, 9, 14, 20, 27, 33, 40, 47])
def test_a_resumed_comparison_measures_the_interrupted_rounds_again_on_both_sides(
    tmp_path: Path, outcomes: int
) -> None:
    Host().compare(tmp_path, stop_after=outcomes)
    before = stored(tmp_path)
    host = Host()
    host.compare(tmp_path, resume="latest")
    assert len(stored(tmp_path)) == 2 * 4 * 2 * 3
    assert all(len(cards) == 1 for cards in on_cards(tmp_path).values())
    rounds = {
        batch: [round_ for _, b, _, round_ in before if b == batch].count for batch in BATCHES
    }
    whole = sum(count(round_) == 4 for count in rounds.values() for round_ in range(3))
    jobs = [job for on in host.started.values() for _, worker in on for job in worker.jobs]
    assert len(jobs) == 2 * 4 * 2 * 3 - 4 * whole


def test_what_fails_or_is_refused_is_stored_once_a_side(tmp_path: Path) -> None:
    host = Host(does={"sdpa": Does(refuses="no such kernel"), "naive": Does(dies="SIGSEGV")})
    host.compare(tmp_path)
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        found = [(m.run, m.case.backend, m.status) for m in store.measurements([1, 2], pool=True)]
    assert Counter(found) == {
        (run, backend, status): 4
        for run in (1, 2)
        for backend, status in [("naive", Status.CRASHED), ("sdpa", Status.REFUSED)]
    }


@pytest.mark.parametrize(
    ("host", "asked", "message"),
    [
        (
            Host([replace(H200, device="cuda:0"), replace(H100, device="cuda:1")]),
            {},
            r"ab measures on GPUs of one model, and these are NVIDIA H200 \(cuda:0\) and NVIDIA H",
        ),
        (Host(), {"gpus": ["H20"]}, "--gpu H20: no device is of that model"),
    ],
)
def test_cards_that_cannot_be_compared_are_one_clear_error(
    tmp_path: Path, host: Host, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        host.compare(tmp_path, **asked)
    assert all(worker.ended for on in host.started.values() for _, worker in on)


def test_a_comparison_of_which_one_side_changed_is_not_resumed(tmp_path: Path) -> None:
    Host().compare(tmp_path, stop_after=20)
    before = stored(tmp_path)
    with pytest.raises(UsageError, match=r"run 2 cannot be resumed, since .*torch"):
        Host().compare(tmp_path, resume="1", torch="2.12.0")
    assert stored(tmp_path) == before


SHAPE = ["--num-q-heads", "4", "--num-kv-heads", "2", "--head-dim", "16", "--repeats", "3"]
SHAPE += ["--num-layers", "2"]
TWO = [
    *["ab", "--margin", "1000%", "--", "attn", "--backend", "sdpa", "--batch-specs", "q{4,8}"],
    *[*SHAPE, "--rounds", "1", "--device", "cpu", "cpu"],
]


def test_two_workers_on_cpus_share_a_comparison(tmp_path: Path, attnbench: Attnbench) -> None:
    done = attnbench(*TWO)
    assert done.returncode == 0, done.stderr
    assert "rounds were interleaved and are compared pair by pair" in done.stdout
    card = {}
    for line in done.stderr.splitlines():
        if found := re.fullmatch(r"run (\d) (cpu \d)  round (\d)  sdpa (q\d) .*", line):
            run, on, round_, batch = found.groups()
            card[int(run), batch, int(round_)] = on
    assert len(card) == 2 * 2
    assert {(batch, on) for (_, batch, _), on in card.items()} in (
        {("q4", "cpu 1"), ("q8", "cpu 2")},
        {("q4", "cpu 2"), ("q8", "cpu 1")},
    )


def test_a_comparison_that_is_interrupted_in_its_first_turn_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Host()

    def interrupted() -> Generator[StoredOutcome]:
        with closing(host.outcomes(tmp_path)) as outcomes:
            yield next(outcomes)
        raise KeyboardInterrupt

    with pytest.raises(click.exceptions.Exit):
        show_runs(interrupted(), 2, "continue with the same command")
    assert "continue with the same command" in capsys.readouterr().err
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        first, second = (store.measurements([run]) for run in (1, 2))
    assert len(first) in (1, 2)  # the other card may have finished one too
    assert second == []


@pytest.mark.parametrize(
    ("is_resumed", "message"),
    [
        (True, "those that it resumes\ncontinue with the same command"),
        (False, "none\nit cannot be continued; begin again with the same command"),
    ],
)
def test_a_comparison_that_is_interrupted_at_once_says_how_to_go_on(
    is_resumed: bool, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> Generator[StoredOutcome]:
        yield from ()
        raise KeyboardInterrupt

    with pytest.raises(click.exceptions.Exit):
        show_runs(interrupted(), 2, "continue with the same command", is_resumed=is_resumed)
    assert f"runs with results so far: {message}" in capsys.readouterr().err


def test_the_bar_of_a_comparison_counts_the_outcomes_of_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    show_runs(Host().outcomes(tmp_path), 2)
    total = 2 * PLAN.rounds * len(PLAN.cases)
    shown = [tuple(map(int, each)) for each in re.findall(r"(\d+)/(\d+) ", terminal.getvalue())]
    assert shown[0] in {(1, total), (1, total - 1)}  # the other card may have finished one too
    assert shown[-1] == (total, total)


def test_a_comparison_on_several_devices_is_not_resumed_on_one(tmp_path: Path) -> None:
    Host().compare(tmp_path, stop_after=20)
    host = Host()
    alone = command(tmp_path, name="ab", devices=["cuda:0"], resume="latest")
    with pytest.raises(UsageError, match=r"name them again, e.g. --device cuda:0 cuda:1 --resume"):
        list(interleaved(alone, [host.side("a"), host.side("b")], lambda _: PLAN, print))


def test_ab_measures_on_this_host(attnbench: Attnbench) -> None:
    done = attnbench("ab", "--", "attn", "--ray", "local")
    assert done.returncode == 2
    assert "--ray local: ab measures on the devices of this host, e.g. --device all" in done.stderr
