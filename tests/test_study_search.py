"""The search for a crossover as a run: what it measures, where it ends, and how it goes on."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from attnbench.families import FAMILIES
from attnbench.provenance.machine import Machine
from attnbench.records import Outcome, Status
from attnbench.running import dealer
from attnbench.running.messages import Job
from attnbench.running.open_run import OpenRun
from attnbench.running.plan import Plan
from attnbench.specs.case import Case
from attnbench.studies.conclusion import Conclusion, conclude
from attnbench.studies.deck import study_deck
from attnbench.studies.file import read_study
from attnbench.studies.request import StudyRequest
from attnbench.studies.search import is_decode
from attnbench.timing.method import Method
from tests.fake_worker import Does, FakeDevice, measuring
from tests.stored_results import CPU

pytestmark = pytest.mark.usefixtures("own_lock")

TRUTH = 20  # new tokens, where both paths take 2 ms
STUDY = """\
question: At which length does prefill beat decode?
family: mla
answer:
  crossover: {resolution: 1.1}
sweep:
  - backend: torch-absorbed
    q_len: [2, 4, 6, 8, 12, 16, 18, 22, 24, 28, 32, 40, 48, 64]
    context: 16
"""


def timed(job: Job) -> Outcome:
    """Decode grows with the square of the length, prefill shrinks; rounds differ by 0.1 %."""
    power = 2 if is_decode(job.case) else -1
    seconds = 2e-3 * (job.case.batch.max_q_len / TRUTH) ** power * (1 + 1e-3 * job.seed)
    return Outcome(Status.OK, samples=(seconds,) * 3)


def plan(*, is_exhaustive: bool) -> Plan:
    def plan_of(cases: Sequence[Case], _: Machine) -> Plan:
        return Plan(tuple(cases), (Method("cpu"),))

    study = read_study(STUDY, "paths", "paths.yaml", FAMILIES)
    asked = StudyRequest.of(study, {}, is_quick=False, is_exhaustive=is_exhaustive)
    return asked.plan_for(plan_of)(CPU)


def lengths(run: OpenRun) -> set[int]:
    """The new tokens of all cases that have a time."""
    found = run.store.measurements([run.run])
    return {each.case.batch.max_q_len for each in found if each.status is Status.OK}


def measured(
    folder: Path, device: FakeDevice, *, is_exhaustive: bool = False, resume: str | None = None
) -> tuple[set[int], Conclusion]:
    """The lengths that were measured, and what they came to, also after Ctrl-C."""
    asked = plan(is_exhaustive=is_exhaustive)
    with measuring(device, asked, folder, name="study", resume=resume) as run:
        with suppress(KeyboardInterrupt):
            list(dealer.measured([run], study_deck, print))
        return lengths(run), conclude(run.store, run.run)


def ends(found: Conclusion) -> tuple[str, str]:
    """Up to where decode surely wins, and from where prefill does."""
    columns = found.tables[0].columns
    return columns["low"][0], columns["high"][0]


def test_the_search_finds_in_fewer_cells_the_crossover_of_an_exhaustive_sweep(
    tmp_path: Path,
) -> None:
    device = FakeDevice({"torch-absorbed": Does(timed)})
    few, found = measured(tmp_path, device)
    every, swept = measured(tmp_path, device, is_exhaustive=True)
    assert ends(found) == ends(swept) == ("18", "22")
    assert len(every) == 14
    assert few < every
    assert len(few) < 10


def test_the_ends_have_all_rounds_and_what_lies_far_off_has_one(tmp_path: Path) -> None:
    device = FakeDevice({"torch-absorbed": Does(timed)})
    measured(tmp_path, device)
    rounds = {q: sum(job.case.batch.max_q_len == q for job in device.jobs) for q in (2, 18, 22, 64)}
    assert rounds == {2: 2, 18: 6, 22: 6, 64: 2}  # on both paths


def test_a_search_that_was_interrupted_ends_where_one_in_one_piece_does(tmp_path: Path) -> None:
    whole, _ = measured(tmp_path, FakeDevice({"torch-absorbed": Does(timed)}))
    stopped = FakeDevice({"torch-absorbed": Does(timed)}, ctrl_c=13)
    before, _ = measured(tmp_path, stopped)
    device = FakeDevice({"torch-absorbed": Does(timed)})
    after, found = measured(tmp_path, device, resume="2")
    assert before < after == whole
    assert ends(found) == ("18", "22")
    again = {(job.case, job.seed) for job in device.jobs} & {
        (job.case, job.seed) for job in stopped.jobs[:-1]
    }
    assert not again


def test_a_search_whose_cells_all_fail_ends(tmp_path: Path) -> None:
    device = FakeDevice({"torch-absorbed": Does(dies="SIGSEGV")})
    few, found = measured(tmp_path, device)
    assert few == set()
    assert list(found.cells) == [
        "0 of 12 cases have a time",
        "crashed: 12 of torch-absorbed: SIGSEGV",
    ]
