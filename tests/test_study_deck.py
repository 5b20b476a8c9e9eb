"""Which cases of a study stay on one card: those that its answer compares."""

from pathlib import Path

import pytest

from attnbench.families import FAMILIES
from attnbench.provenance.machine import Machine
from attnbench.records import Outcome, Status
from attnbench.running.dealer import measured
from attnbench.running.messages import Job
from attnbench.running.plan import Plan
from attnbench.specs.case import Case
from attnbench.studies.deck import study_deck
from attnbench.studies.file import read_study
from attnbench.studies.request import StudyRequest
from attnbench.timing.method import Method
from tests.fake_worker import Does, FakeDevice, measuring
from tests.stored_results import CPU
from tests.test_dealer import cards, crew

pytestmark = pytest.mark.usefixtures("own_lock")

HEAD = "question: Which is faster?\nfamily: {family}\nanswer: {answer}\nsweep:\n"
ATTN = "  - backend: [naive, sdpa]\n    batch_size: [1, 4]\n    q_len: 1\n    kv_len: [1k, 4k]\n"
MLA = "  - backend: torch-absorbed\n    q_len: [2, 4, 8, 16, 32]\n    context: [16, 64]\n"


def plan_of_study(text: str, family: str) -> Plan:
    study = read_study(text, "mine", "mine.yaml", FAMILIES)
    asked = StudyRequest.of(study, {}, is_quick=False, is_exhaustive=False)

    def plan(cases: tuple[Case, ...], _: Machine) -> Plan:
        return Plan(tuple(cases), (Method("cpu"),), rounds=2)

    return asked.plan_for(plan)(CPU)  # type: ignore[arg-type]


def groups(text: str, folder: Path, family: str = "attn") -> list[list[str]]:
    """Backend, batch and layout of the cases of each group."""
    with measuring(FakeDevice(), plan_of_study(text, family), folder, name="study") as run:
        deck = study_deck(run)
    return [
        [f"{case.backend} {case.batch} {case.layout or ''}".strip() for case in group]
        for group in deck.groups
    ]


def test_a_contrast_of_backends_keeps_a_workload_together(tmp_path: Path) -> None:
    answer = "{contrast: {field: backend, pairs: [[naive, sdpa]]}}"
    assert groups(HEAD.format(family="attn", answer=answer) + ATTN, tmp_path) == [
        [f"naive {batch}", f"sdpa {batch}"] for batch in ("q1kv1k", "q1kv4k", "4q1kv1k", "4q1kv4k")
    ]


def test_a_contrast_of_the_workload_keeps_both_values_together(tmp_path: Path) -> None:
    answer = "{contrast: {field: dtype, pairs: [[fp32, bf16]]}}"
    sweep = ATTN + "    dtype: [fp32, bf16]\n"
    found = groups(HEAD.format(family="attn", answer=answer) + sweep, tmp_path)
    assert [len(group) for group in found] == [4, 4, 4, 4]
    assert all(len({case.split()[1] for case in group}) == 1 for group in found)


def test_growth_keeps_a_curve_over_the_length_together(tmp_path: Path) -> None:
    answer = "{growth: {over: kv_len}}"
    found = groups(HEAD.format(family="attn", answer=answer) + ATTN, tmp_path)
    batches = [{case.split()[1] for case in group} for group in found]
    assert batches == [{"q1kv1k", "q1kv4k"}, {"4q1kv1k", "4q1kv4k"}]


def slower_decode(job: Job) -> Outcome:
    threshold, length = job.case.knob("threshold"), job.case.batch.max_q_len
    seconds = 1e-5 * length if threshold == length else 1e-4
    return Outcome(Status.OK, samples=(seconds, seconds, seconds))


def test_a_search_follows_each_curve_on_one_card(tmp_path: Path) -> None:
    plan = plan_of_study(
        HEAD.format(family="mla", answer="{crossover: {resolution: 1.1}}") + MLA, "mla"
    )
    devices = cards({}, {})
    for device in devices:
        device.does = {"torch-absorbed": Does(slower_decode)}
    with crew(tmp_path, devices, plan=plan) as run:
        list(measured([run], study_deck, print))
        found = run.store.measurements([run.run])
    on = [
        {m.gpu_uuid for m in found if m.case.batch.requests[0].context_len == context}
        for context in (16, 64)
    ]
    assert sorted(map(len, on)) == [1, 1]
    assert on[0] != on[1]
    assert {m.case.batch.max_q_len for m in found} >= {8, 16}
