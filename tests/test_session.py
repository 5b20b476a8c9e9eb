"""A measuring command's run: whose code it names, how it ends, and when it goes on."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError, UsageError
from attnbench.provenance.environment import Component
from attnbench.provenance.source import Source
from attnbench.records import RunStatus
from attnbench.running.lock import device_lock
from attnbench.running.plan import Limits, Plan
from attnbench.timing.method import Method
from tests.conftest import small_case
from tests.fake_worker import Does, FakeDevice, measuring
from tests.stored_results import CPU, ENVIRONMENT
from tests.test_source import git

pytestmark = pytest.mark.usefixtures("own_lock")

CASES = (small_case(), small_case(backend="sdpa"))
PLAN = Plan(CASES, (Method("cpu"),), rounds=2)
BUILD = Source("editable vllm", "vllm", "main", "e" * 40, None, "Speed up", "/src/vllm")


def measure(
    device: FakeDevice, folder: Path, plan: Plan = PLAN, **fields: Any
) -> list[tuple[str, int]]:
    """Backend and round of what was stored before the run ended, or was interrupted."""
    stored = list[tuple[str, int]]()
    with suppress(KeyboardInterrupt), measuring(device, plan, folder, **fields) as run:
        for each in run.outcomes():
            stored.append((each.case.backend, each.round))
    return stored


def run_status(folder: Path) -> RunStatus:
    with Store.open(folder / "attnbench.db", create=False) as store:
        return store.run(1).status


def test_a_run_is_running_until_it_is_finished(tmp_path: Path) -> None:
    with measuring(FakeDevice(), PLAN, tmp_path) as run:
        list(run.outcomes())
        assert run_status(tmp_path) is RunStatus.RUNNING
    assert run_status(tmp_path) is RunStatus.FINISHED


def test_an_interrupted_run_goes_on_with_exactly_the_rest(tmp_path: Path) -> None:
    device = FakeDevice(ctrl_c=5)  # in the third job of two seconds each
    assert measure(device, tmp_path) == [("naive", 0), ("sdpa", 0)]
    assert run_status(tmp_path) is RunStatus.INTERRUPTED
    assert all(worker.ended for worker in device.workers)
    with measuring(FakeDevice(), Plan((), ()), tmp_path, resume="latest") as run:
        assert run.run == 1
        assert run.remaining == 2
        rest = [(each.case.backend, each.round, each.position) for each in run.outcomes()]
        assert run.succeeded
    assert rest == [("sdpa", 1, 2), ("naive", 1, 3)]
    assert run_status(tmp_path) is RunStatus.FINISHED


def test_what_has_failed_or_cannot_run_is_not_tried_when_a_run_goes_on(tmp_path: Path) -> None:
    does = {"naive": Does(dies="SIGSEGV"), "flash": Does(refuses="needs a GPU")}
    plan = replace(PLAN, cases=(*CASES, small_case(backend="flash")))
    before = measure(FakeDevice(does, ctrl_c=3), tmp_path, plan)
    assert before == [("flash", 0), ("naive", 0)]
    assert measure(FakeDevice(does), tmp_path, resume="1") == [("sdpa", 0), ("sdpa", 1)]


def test_a_run_that_goes_on_keeps_its_time_limits(tmp_path: Path) -> None:
    plan, device = replace(PLAN, limits=Limits(prepare=5, measure=7)), FakeDevice()
    measure(FakeDevice(ctrl_c=1), tmp_path, plan)
    measure(device, tmp_path, resume="1")
    assert {limits for worker in device.workers for limits in worker.limits} == {plan.limits}


@pytest.mark.parametrize(
    ("device", "changed"),
    [
        (FakeDevice(source=replace(BUILD, commit="f" * 40)), "the code under test"),
        (FakeDevice(source=replace(BUILD, dirty="d" * 40)), "the code under test"),
        (
            FakeDevice(
                source=BUILD,
                environment=replace(ENVIRONMENT, components={"torch": Component("2.12.0")}),
            ),
            "torch 2.11.0 -> 2.12.0",
        ),
        (
            FakeDevice(source=BUILD, machine=replace(CPU, name="AMD EPYC")),
            "Intel Xeon, 2 cores -> AMD EPYC, 2 cores",
        ),
    ],
    ids=["another commit", "a change that is not committed", "another torch", "another CPU"],
)
def test_a_run_does_not_go_on_with_other_code_software_or_hardware(
    tmp_path: Path, device: FakeDevice, changed: str
) -> None:
    measure(FakeDevice(source=BUILD, ctrl_c=5), tmp_path)
    with pytest.raises(UsageError) as refused, measuring(device, PLAN, tmp_path, resume="1"):
        pass
    assert str(refused.value) == (
        "run 1 cannot be resumed, since its machine, software or code has changed "
        f"({changed}); start a new run without --resume"
    )
    assert device.jobs == []
    assert device.workers[0].ended
    assert run_status(tmp_path) is RunStatus.INTERRUPTED


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resume": "x"}, "--resume 'x' is not a run number"),
        ({"resume": "7"}, "there is no run 7"),
        ({"resume": "latest", "name": "mla"}, "has no unfinished mla run of this machine"),
        ({"resume": "1", "name": "mla"}, "--resume 1: that run is of `attn`"),
        ({"resume": "1", "options": {"rounds": 5}}, "had --rounds 2, not 5; leave the option out"),
        ({"resume": "1", "options": {"seed": 5}}, "had --seed at its default, not 5"),
    ],
)
def test_a_run_goes_on_only_as_it_was_asked_for(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    measure(FakeDevice(ctrl_c=5), tmp_path, options={"rounds": 2})
    with pytest.raises(UsageError) as refused, measuring(FakeDevice(), PLAN, tmp_path, **fields):
        pass
    assert message in str(refused.value)


@pytest.mark.parametrize("asked", ["auto", "cpu"])
def test_a_finished_run_does_not_go_on_and_no_worker_starts_for_it(
    tmp_path: Path, asked: str
) -> None:
    measure(FakeDevice(), tmp_path)
    device = FakeDevice()
    with pytest.raises(UsageError, match="--resume 1: that run is finished"):
        measuring(device, PLAN, tmp_path, resume="1", devices=[asked]).__enter__()
    assert device.workers == []


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A checkout with one commit."""
    path = tmp_path / "named"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "commit", "--quiet", "--allow-empty", "--message", "Named")
    return path


@pytest.mark.parametrize("installed", [None, BUILD], ids=["none", "an editable vLLM"])
def test_a_source_that_is_named_wins_over_one_that_is_installed(
    tmp_path: Path, named: Path, installed: Source | None
) -> None:
    with measuring(FakeDevice(source=installed), PLAN, tmp_path, source=named) as run:
        stored = run.store.run(run.run).source
    assert (stored["origin"], stored["subject"]) == ("--source", "Named")


def test_a_source_that_is_installed_is_named_where_none_is_given(tmp_path: Path) -> None:
    with measuring(FakeDevice(source=BUILD), PLAN, tmp_path) as run:
        assert run.store.run(run.run).commit == BUILD.commit


def test_a_device_that_another_command_measures_on_is_left_alone(tmp_path: Path) -> None:
    device, busy = FakeDevice(), pytest.raises(AttnbenchError, match="is measuring on Intel Xeon")
    with device_lock(CPU, wait=False, note=print), busy:
        measure(device, tmp_path)
    assert device.workers[0].ended
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        assert store.runs() == []
