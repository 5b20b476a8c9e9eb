"""A command says what it is busy with where that takes long, and how long the rest will take."""

import time
from pathlib import Path
from threading import Event

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.commands import bar
from attnbench.records import Outcome, Status
from attnbench.reporting.progress import TimeLeft
from attnbench.running import slow, workers
from attnbench.running.messages import Job
from attnbench.running.plan import Plan
from attnbench.running.slow import said_if_slow
from attnbench.running.workers import Workers
from attnbench.timing.finished import Finished
from attnbench.timing.method import Isolation, Method
from tests.fake_worker import Does, FakeDevice, FakeWorker, measuring, right
from tests.stored_results import attn
from tests.terminal import Terminal


def test_what_takes_long_is_said_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "FIRST", 0.01)
    monkeypatch.setattr(slow, "EVERY", 0.01)
    phases = iter(["preparing flash q8", "timing flash q8"])
    said, both = list[str](), Event()

    def note(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            both.set()

    with said_if_slow(lambda: next(phases, "timing flash q8"), note):
        assert both.wait(30)
    count = len(said)
    assert said[:2] == ["preparing flash q8, for 0 s so far", "timing flash q8, for 0 s so far"]
    assert len(said) == count  # nothing after the end


def test_the_case_and_its_phase_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "FIRST", 0.001)
    device = FakeDevice()

    def once_it_is_said(job: Job) -> Outcome:
        while not any("sdpa q8" in said for said in device.notes):
            time.sleep(0.001)
        return right(job)

    device.does = {"sdpa": Does(once_it_is_said)}
    plan = Plan((attn("q8"),), (Method("cpu"),), rounds=1)
    with measuring(device, plan, tmp_path) as run:
        list(run.outcomes())
    assert "preparing (which may compile) sdpa q8, for 0 s so far" in device.notes


def test_the_start_of_the_first_worker_alone_is_said_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SOON", 0.001)
    device, said = FakeDevice(), Event()

    def once_it_is_said(name: str) -> FakeWorker:
        assert device.workers or said.wait(30)
        return device.start(name)

    def note(text: str) -> None:
        device.notes.append(text)
        said.set()

    with Workers(once_it_is_said, "cpu", note) as started:
        started.worker()
        started.end()
        assert started.worker() is device.workers[1]
    assert device.notes == ["starting a worker, which imports torch, for 0 s so far"]


def test_the_clock_of_a_bar_goes_on_while_an_outcome_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bar, "_TICK", 0.001)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    end = time.monotonic() + 30
    with bar.outcomes_bar(2):
        while terminal.getvalue().count("0/2") < 3 and time.monotonic() < end:
            time.sleep(0.001)
    assert terminal.getvalue().count("0/2") >= 3


def test_a_pipe_has_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with bar.outcomes_bar(2) as shown:
        shown.update()
    assert capsys.readouterr().err == ""


def test_what_is_quick_is_not_said() -> None:
    said = list[str]()
    with said_if_slow(lambda: "preparing", said.append):
        pass
    assert said == []


def foreseen(
    seconds_each: float,
    remaining: int,
    *,
    imports: float = 0.0,
    odd: float = 0.0,
    cards: int = 1,
    isolate: Isolation = "none",
) -> list[str | None]:
    """After each of four outcomes of a first round, one of the second, and one more."""
    now = 0.0
    left, said = TimeLeft(lambda: now), list[str | None]()
    case, method = attn("q8"), Method("cpu", isolate=isolate)
    now += imports
    for at in range(6):
        once = odd if at < 4 else 0.0
        now += 0.0 if at % cards else seconds_each + once  # cards finish together
        done = Outcome(Status.OK, durations={"check_odd_lengths": once, "time": seconds_each})
        finished = Finished(case, method, at // 4, at, done, card=f"cuda:{at % cards}")
        said.append(left.after(finished, lambda: remaining))
    return said


@pytest.mark.parametrize(
    ("seconds_each", "remaining", "expected"),
    [
        (30.0, 4, "4 outcomes are left, ~2 min at the pace so far"),
        (1.0, 4, None),
        (30.0, 1, None),
        (30.0, 0, None),
    ],
)
def test_a_long_first_round_foresees_the_others_once(
    seconds_each: float, remaining: int, expected: str | None
) -> None:
    assert foreseen(seconds_each, remaining) == [None] * 4 + [expected, None]


def test_what_comes_once_is_not_foreseen_again() -> None:
    """Imports of 20 s, and a check of 15 s in each outcome of the first round."""
    one = foreseen(3.0, 10, imports=20.0, odd=15.0)
    two = foreseen(6.0, 10, imports=20.0, odd=15.0, cards=2)
    assert one[4] == "10 outcomes are left, ~30 s at the pace so far"
    assert two[4] == "10 outcomes are left, ~36 s at the pace so far"


def test_workers_that_import_again_in_each_round_are_foreseen() -> None:
    said = foreseen(3.0, 10, imports=20.0, isolate="rounds")
    assert said[4] == "10 outcomes are left, ~70 s at the pace so far"


def test_a_dry_run_foresees_time_from_the_work() -> None:
    words = ["attn", "--device", "cpu", "--backend", "sdpa", "--batch-specs", "q16", "q4k", "q128k"]
    text = CliRunner().invoke(cli, [*words, "--dry-run", "--timeout", "50"]).stdout
    seconds = {line.split()[0]: line.split()[-1] for line in text.splitlines() if "sdpa" in line}
    assert seconds["q16"] == "~7.5"
    assert float(seconds["q4k"].strip("~")) > 7.5
    assert seconds["q128k"] == "~50.0!"
    assert "! a round may reach its --timeout" in text


def test_a_dry_run_foresees_the_path_that_a_backend_takes() -> None:
    """On decodes torch-mha projects the whole context up."""
    words = ["mla", "--backend", "torch-absorbed", "torch-mha", "--batch-specs", "4q1kv1k"]
    text = CliRunner().invoke(cli, [*words, "--device", "cpu", "--dry-run"]).stdout
    lines = [line.split() for line in text.splitlines() if line.startswith("4q1kv1k")]
    seconds = {line[1]: float(line[-1].strip("~!")) for line in lines}
    assert seconds["torch-mha"] > 5 * seconds["torch-absorbed"]
