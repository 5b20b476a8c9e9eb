"""Which cases have a layer between their calls, by which method, and what a study says of it."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from attnbench.analysis.series import series_of
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.machine import Machine
from attnbench.results.command_line import case_command
from attnbench.running.between import facts_for, for_case
from attnbench.running.plan import Plan
from attnbench.specs.case import Case, Value
from attnbench.studies.conclusion import _between
from attnbench.studies.search import of_method
from attnbench.timing.method import LAYER_VERSION, WITH_W_UK, Between, Method
from tests.stored_results import CPU, H200, attn, mla, store_run, timed
from tests.test_between import PLAIN, US
from tests.test_options import request


def plan(family: str, *words: str, machine: Machine = H200) -> tuple[Plan, list[str]]:
    notes = list[str]()
    return request(family, *words).plan_for(notes.append)(machine), notes


def test_calls_are_timed_with_and_without_a_layer_by_one_command() -> None:
    found, notes = plan("attn", "--between", "nothing", "layer", "--verify-timer")
    assert [(each.timer, each.between) for each in found.methods] == [
        ("cudagraph", "nothing"),
        ("cudagraph", "layer"),
        ("kernel", "nothing"),
    ]
    assert notes == []


@pytest.mark.parametrize(
    ("words", "conflict"),
    [
        ("attn --mode eager", "--mode eager"),
        ("attn --mode cudagraph kernel", "--mode cudagraph kernel"),
        ("attn --verify-timer", "--verify-timer"),
        ("mla --cache both", "--cache both"),
        ("cache-write", "--inputs hot"),
        ("cache-write --inputs cold hot", "--inputs hot"),
    ],
)
def test_what_a_layer_would_make_false_is_refused(words: str, conflict: str) -> None:
    family, *others = words.split()
    with pytest.raises(UsageError, match=f"^{conflict} with --between layer: the layer"):
        plan(family, "--between", "layer", *others)


def test_cold_inputs_go_with_a_layer() -> None:
    found, _ = plan("cache-write", "--between", "layer", "--inputs", "cold")
    assert {each.between for each in found.methods} == {"layer"}


def test_a_cpu_has_no_layer_and_says_so() -> None:
    found, notes = plan("attn", "--between", "layer", machine=CPU)
    assert [each.between for each in found.methods] == ["nothing"]
    assert notes == ["--between layer does not apply to a CPU, whose calls are timed one by one"]


@pytest.mark.parametrize(
    ("words", "spec", "between"),
    [
        ("attn", "64q1kv1k", "layer"),
        ("mla --eager-fallback", "64q1kv1k", "layer"),
        ("attn", "q512", "nothing"),
        ("attn", "2q512_32q1kv1k", "nothing"),
        ("attn", "16q4kv1k", "nothing"),
        ("attn --between nothing", "64q1kv1k", "nothing"),
        ("attn --between layer", "q512", "layer"),
        # compared with others, which have no layer
        ("attn --cache hot", "64q1kv1k", "nothing"),
        ("attn --cache both", "64q1kv1k", "nothing"),
        ("attn --mode eager", "64q1kv1k", "nothing"),
        ("attn --mode cudagraph eager", "64q1kv1k", "nothing"),
        ("attn --verify-timer", "64q1kv1k", "nothing"),
    ],
)
def test_a_layer_stands_between_decodes_alone_unless_asked_for(
    words: str, spec: str, between: str
) -> None:
    family, *others = words.split()
    found, _ = plan(family, "--batch-specs", spec, *others)
    methods = {method for case in found.cases for method in found.methods_of(case)}
    assert {method.between for method in methods} == {between}


@pytest.mark.parametrize("family", ["cache-write", "prefill-trtllm"])
def test_other_families_have_no_layer(family: str) -> None:
    found, _ = plan(family)
    assert {m.between for case in found.cases for m in found.methods_of(case)} == {"nothing"}


def test_each_method_of_a_case_is_measured_once() -> None:
    decode, prefill = attn("8q1kv1k", "flash", "bf16"), attn("q512", "flash", "bf16")
    methods = tuple(replace(PLAIN, between=each) for each in ("auto", "nothing"))
    turns = [
        (str(case.batch), m.between) for _, case, m in Plan((decode, prefill), methods).order(0)
    ]
    assert turns == [("8q1kv1k", "layer"), ("8q1kv1k", "nothing"), ("q512", "nothing")]


@pytest.mark.parametrize("spec", ["8q1kv1k", "q512"])
@pytest.mark.parametrize("between", get_args(Between))
def test_an_outcome_is_found_by_the_facts_of_its_plan(spec: str, between: Between) -> None:
    case, method = attn(spec, "flash", "bf16"), replace(PLAIN, between=between)
    assert facts_for(method.as_facts(), case) == for_case(method, case).as_facts()


ABSORBED = replace(mla("8q1kv1k"), scope="kernel")  # a decode whose W_UK stands in the layer


@pytest.mark.parametrize(
    ("case", "between", "planned", "version"),
    [
        (ABSORBED, "auto", WITH_W_UK, WITH_W_UK),
        (ABSORBED, "layer", WITH_W_UK, WITH_W_UK),
        (ABSORBED, "auto", LAYER_VERSION, LAYER_VERSION),  # an interrupted run of then
        (ABSORBED, "nothing", WITH_W_UK, None),
        (mla("8q1kv1k"), "auto", WITH_W_UK, LAYER_VERSION),
        (attn("8q1kv1k"), "auto", WITH_W_UK, LAYER_VERSION),
        (attn("q512"), "auto", WITH_W_UK, None),
        (attn("q512"), "layer", WITH_W_UK, LAYER_VERSION),
    ],
)
def test_rows_behind_a_layer_with_w_uk_have_a_method_of_their_own(
    case: Case, between: Between, planned: int, version: int | None
) -> None:
    method = replace(PLAIN, between=between, layer_version=planned)
    found = for_case(method, case)
    assert found.as_facts().get("layer_version") == version
    assert found.as_facts() == facts_for(method.as_facts(), case)
    assert for_case(Method.from_facts(method.as_facts()), case) == found
    assert Method.from_facts(found.as_facts()) == found


def test_a_command_plans_for_w_uk() -> None:
    found, _ = plan("mla", "--batch-specs", "8q1kv1k", "--backend", "flashmla")
    versions = {m.layer_version for case in found.cases for m in found.methods_of(case)}
    assert versions == {WITH_W_UK}


def test_a_study_knows_the_outcomes_of_its_method(tmp_path: Path) -> None:
    decode, prefill = attn("8q1kv1k", "flash", "bf16"), attn("q512", "flash", "bf16")
    auto = replace(PLAIN, between="auto")
    with Store.open(tmp_path / "study.db") as store:
        for each in (decode, prefill):
            store_run(store, {each: timed(each, US)}, machine=H200, method=for_case(auto, each))
        found = of_method(store.measurements([1, 2]), auto.as_facts())
        assert [each.case for each in found] == [decode, prefill]
        assert of_method(found, PLAIN.as_facts()) == [found[1]]


@pytest.mark.parametrize(
    ("specs", "between", "said"),
    [
        ("8q1kv1k q512", "auto", "; a layer between the calls of decodes"),
        ("8q1kv1k 16q1kv1k", "auto", "; a layer between calls"),
        ("8q1kv1k q512", "nothing", ""),
    ],
)
def test_a_study_says_that_its_decodes_have_a_layer(
    tmp_path: Path, specs: str, between: Between, said: str
) -> None:
    method = replace(PLAIN, between=between)
    with Store.open(tmp_path / "study.db") as store:
        for case in (attn(spec, "flash", "bf16") for spec in specs.split()):
            store_run(store, {case: timed(case, US)}, method=for_case(method, case))
        assert _between(series_of(store.measurements([1, 2]))) == said


def test_a_prefill_and_an_old_plan_keep_their_method() -> None:
    assert for_case(replace(PLAIN, between="auto"), attn("q512")).key == PLAIN.key
    old: dict[str, Value] = {"timer": "cudagraph", "cache": "cold", "version": 3}
    assert for_case(Method.from_facts(old), attn("8q1kv1k")).between == "nothing"


@pytest.mark.parametrize(
    ("spec", "between", "words"),
    [
        ("8q1kv1k", "layer", []),
        ("8q1kv1k", "nothing", ["--between", "nothing"]),
        ("q512", "layer", ["--between", "layer"]),
        ("q512", "nothing", []),
    ],
)
def test_a_row_is_measured_again_as_it_was(spec: str, between: Between, words: list[str]) -> None:
    case, method = attn(spec, "flash", "bf16"), replace(PLAIN, between=between)
    _, family, *rest = case_command(case, method.as_facts(), {})
    assert [word for word in rest if word in ("--between", "nothing", "layer")] == words
    again, _ = plan(family, *rest)
    assert [again.methods_of(each) for each in again.cases] == [(method,)]
