"""Study files: what is read, what is refused where, and what the command line makes of them."""

import re
from collections.abc import Iterator

import pytest

from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.running.forecast import Forecast, Foreseen
from attnbench.running.plan import Plan
from attnbench.running.process import WorkerProcess
from attnbench.studies.analysis import ContrastAnalysis
from attnbench.studies.cases import Cells, cells_of
from attnbench.studies.file import Study, read_study
from attnbench.studies.listing import dry_run_text
from attnbench.studies.request import StudyRequest, built_in, changed, load_study
from attnbench.timing.method import Method

HEAD = """\
question: Which is faster?
family: attn
answer:
  winner: {}
sweep:
"""


def study(text: str) -> Study:
    return read_study(text, "mine", "mine.yaml", FAMILIES)


def swept(lines: str) -> Study:
    return study(HEAD + lines)


def specs(found: Study) -> list[str]:
    return [str(case.batch) for case in cells_of(found, "cpu").cases]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("- {backend: naive, batch: [q8, 2q1kv16]}", ["q8", "2q1kv16"]),
        ("- {backend: naive, batch: '{1,2}q1kv16'}", ["q1kv16", "2q1kv16"]),
        ("- {backend: naive, q_len: '2..8:x2'}", ["q2", "q4", "q8"]),
        ("- {backend: naive, q_len: [1..3, '8..12:4']}", ["q1", "q2", "q3", "q8", "q12"]),
        ("- {backend: naive, batch_size: [1, 2], kv_len: 1k}", ["q1kv1k", "2q1kv1k"]),
        ("- {backend: naive, q_len: [2, 4], context: 10}", ["q2kv12", "q4kv14"]),
        (
            "- {backend: naive, batch: 'q{prompt}_{batch_size}q1kv{kv_len}', prompt: 8,"
            " batch_size: [1, 2], kv_len: 16}",
            ["q1kv16_q8", "2q1kv16_q8"],
        ),
        ("- {backend: naive, batch: q8}\n- {backend: naive, batch: q16}", ["q8", "q16"]),
    ],
)
def test_a_sweep_is_a_product_of_lists_ranges_and_templates(
    lines: str, expected: list[str]
) -> None:
    assert specs(swept(lines)) == expected


def test_every_field_of_a_case_and_its_shape_can_be_swept() -> None:
    found = swept(
        "- {backend: naive, batch: q8, num_q_heads: [4, 8], num_kv_heads: 4, head_dim: 16,"
        " layout: [NHD, HND], window: [4, 8], sinks: [true], dtype: [fp32, bf16]}"
    )
    cases = cells_of(found, "cpu").cases
    assert len(cases) == len(set(cases)) == 16
    assert {case.window for case in cases} == {4, 8}
    assert {case.sinks for case in cases} == {True}


def test_a_model_and_tensor_parallel_ranks_make_the_shape() -> None:
    found = swept("- {backend: naive, batch: q8, model: llama3-70b, tp: [1, 8]}")
    shapes = [case.shape for case in cells_of(found, "cpu").cases]
    assert [(s.num_q_heads, getattr(s, "num_kv_heads", 0)) for s in shapes] == [(64, 8), (8, 1)]


def test_a_knob_may_be_left_to_the_backend() -> None:
    text = HEAD.replace("attn", "mla") + (
        "- {backend: torch-absorbed, batch: q4kv16, knobs: {threshold: [auto, 1, 2..4:x2]}}"
    )
    cases = cells_of(study(text), "cpu").cases
    assert [case.knob("threshold") for case in cases] == [None, 1, 2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.yaml:1: the file is empty"),
        ("a: [", "mine.yaml:1: this is not YAML"),
        ("question: x\nfamly: attn\n", "mine.yaml:2: famly: unknown key; accepted here are"),
        ("question: x\nquestion: y\n", "mine.yaml:2: question: this key is repeated"),
        ("question: x\nfamily: attn\n", "mine.yaml:1: (file): the key answer is missing"),
        (HEAD.replace("attn", "conv") + "- {}", "mine.yaml:2: family: no family is called 'conv'"),
        (HEAD + "- {backends: naive}", "mine.yaml:6: backends: unknown key"),
        (HEAD + "- {batch: q8, q_len: 4}", "q_len would change nothing: no template holds"),
        (HEAD + "- {batch: 'q{q_len}'}", "mine.yaml:6: batch: the template's {q_len} has no val"),
        (HEAD + "- {batch: 'x{q_len}', q_len: 2}", "'x{q_len}' is not a batch spec"),
        (HEAD + "- {q_len: [4, 2..8]}", "mine.yaml:6: q_len: a number is repeated"),
        (HEAD + "- {layout: [NHD, NHD]}", "mine.yaml:6: layout: NHD is repeated"),
        (HEAD + "- {backend: naive, layout: []}", "mine.yaml:6: layout: an empty list"),
        (HEAD + "- {q_len: many}", "mine.yaml:6: q_len: cannot read 'many'"),
        (HEAD + "- {q_len: 1, kv_len: 8, context: 4}", "set the same length"),
        (HEAD + "- {model: gpt-9}", "mine.yaml:6: model: no model is called 'gpt-9'"),
        (HEAD + "- {knobs: {num_splits: auto}}", "only auto is the backend's default anyway"),
        (HEAD + "- {knobs: {num_splits: [1, 1]}}", "a value is repeated"),
        (HEAD + "- naive", "mine.yaml:6: sweep: expected `key: value` lines, read 'naive'"),
        (
            HEAD.replace("winner: {}", "winner: {}\n  growth: {}") + "- {q_len: 2}",
            "expected one of crossover, optimum, contrast, winner, ragged, growth, traffic, read 2",
        ),
        (
            HEAD.replace("winner: {}", "optimum: {knob: num_splits}") + "- {q_len: 2}",
            "mine.yaml:4: answer: the answer is about num_splits, so the sweep needs two",
        ),
        (
            HEAD.replace("winner: {}", "contrast: {field: layout}") + "- {layout: [NHD, HND]}",
            "mine.yaml:4: contrast: the key pairs is missing",
        ),
        (
            HEAD.replace("winner: {}", "crossover: {resolution: 1}") + "- {q_len: [2, 4]}",
            "mine.yaml:4: resolution: expected a ratio over 1",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        study(text)


def test_cells_that_are_no_batch_are_counted_not_ignored() -> None:
    found = cells_of(swept("- {backend: naive, q_len: [2, 64], kv_len: [8, 16]}"), "cpu")
    assert [str(case.batch) for case in found.cases] == ["q2kv8", "q2kv16"]
    assert found.left_out == {"kv_len under q_len, and kv_len counts the new tokens too": 2}


def test_cells_over_the_limits_are_counted() -> None:
    limits = "limits: {new_tokens: 16, kv_tokens: 100}\n"
    lines = "- {backend: naive, batch_size: [1, 8], q_len: [4, 8], context: [4, 20]}"
    found = cells_of(study(limits + HEAD + lines), "cpu")
    assert len(found.cases) == 4
    assert sum(found.left_out.values()) == 4
    assert "over 16 new tokens, the limit of this study" in found.left_out


def test_a_name_that_nothing_has_is_an_error_when_the_cases_are_made() -> None:
    with pytest.raises(UsageError, match="no attn backend is called 'nobody'"):
        cells_of(swept("- {backend: nobody, q_len: 2}"), "cpu")
    with pytest.raises(UsageError, match="has no kv_lora_rank"):
        cells_of(swept("- {backend: naive, q_len: 2, kv_lora_rank: 4}"), "cpu")


CROSSOVER = """\
question: When?
family: mla
answer: {crossover: {}}
sweep:
- {backend: torch-absorbed, q_len: [1, 2, 4], context: 8}
"""


def test_a_crossover_has_a_decode_and_a_prefill_case_for_each_length() -> None:
    found: Cells = cells_of(study(CROSSOVER), "cpu")
    assert [(str(c.batch), c.knob("threshold")) for c in found.cases] == [
        ("q2kv10", 2),
        ("q2kv10", 1),
        ("q4kv12", 4),
        ("q4kv12", 1),
    ]
    assert {case.scope for case in found.cases} == {"layer"}
    assert found.left_out == {"one new token, which no threshold sends to prefill": 1}


def test_the_command_line_goes_before_the_file() -> None:
    found = changed(
        swept("- {backend: naive, q_len: [2, 4], layout: [NHD, HND]}"),
        {"backend": ["sdpa"], "batch": ["q8"], "head_dim": [64], "layout": ["HND"]},
    )
    (case,) = cells_of(found, "cpu").cases
    assert (case.backend, str(case.batch), case.layout) == ("sdpa", "q8", "HND")
    assert getattr(case.shape, "head_dim", 0) == 64


def test_a_variable_of_the_file_may_be_overridden_by_its_name() -> None:
    found = changed(swept("- {backend: naive, q_len: [2, 4], batch_size: 2}"), {"q_len": [8]})
    assert specs(found) == ["2q8"]


LAYOUTS = """\
question: HND?
family: cache-write
answer: {contrast: {field: layout, pairs: [[NHD, HND]]}}
sweep:
- {backend: torch, q_len: [1, 2, 4, 8, 16], layout: [NHD, HND]}
exhaustive: {q_len: 1..32}
"""


def test_an_override_that_leaves_one_side_of_a_contrast_is_refused() -> None:
    with pytest.raises(UsageError, match="--layout NHD: mine compares values of layout"):
        changed(study(LAYOUTS), {"layout": ["NHD"]})


def test_other_backends_are_contrasted_with_the_first_that_was_named() -> None:
    text = LAYOUTS.replace("layout, pairs: [[NHD, HND]]", "backend, pairs: [[torch, cuda]]")
    text = text.replace("backend: torch", "backend: [torch, cuda]")
    found = changed(study(text), {"backend": ["a", "b", "c"]})
    assert isinstance(found.analysis, ContrastAnalysis)
    assert found.analysis.pairs == (("a", "b"), ("a", "c"))


def test_a_pilot_takes_three_of_many_and_exhaustive_all() -> None:
    found = study(LAYOUTS)
    count = {
        name: len(cells_of(changed(found, {}, **{name: True}), "cpu").cases)
        for name in ("is_quick", "is_exhaustive")
    }
    assert len(cells_of(found, "cpu").cases) == 10
    assert count == {"is_quick": 6, "is_exhaustive": 64}


def test_exhaustive_may_widen_only_what_the_sweep_has() -> None:
    with pytest.raises(UsageError, match=r"mine.yaml:6: kv_len: unknown key"):
        study(LAYOUTS.replace("{q_len: 1..32}", "{kv_len: 4}"))


@pytest.mark.parametrize("name", sorted(built_in()))
def test_every_built_in_study_makes_cases(name: str) -> None:
    found = built_in()[name]
    assert found.question.endswith(("?", "."))
    assert found.sweep != found.exhaustive


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    with WorkerProcess.start("cpu") as worker:
        yield worker


@pytest.mark.parametrize("name", sorted(built_in()))
def test_every_built_in_study_can_be_foreseen_without_a_gpu(
    name: str, worker: WorkerProcess
) -> None:
    asked = StudyRequest.of(built_in()[name], {}, is_quick=False, is_exhaustive=False)
    plan_for = asked.plan_for(lambda cases, _: Plan(tuple(cases), (Method("cpu"),)))
    plan = plan_for(worker.machine)
    refusals = worker.probe(plan.cases)
    foreseen = [
        Foreseen(case, why.reason if why else None, 1, 2**20, 1.0, stored=False, too_long=False)
        for case, why in zip(plan.cases, refusals, strict=True)
    ]
    text = dry_run_text(asked, Forecast(worker.machine, plan, tuple(foreseen), None), 3)
    assert text.startswith(f"{name}: ")
    assert " ".join(text.split()).endswith("Nothing was measured.")


@pytest.mark.parametrize(
    "alias",
    ["cutlass_numsplits", "hopper_head_count", "flashinfer_vs_cutlass", "reorder_threshold"],
)
def test_the_names_of_the_suite_are_aliases(alias: str) -> None:
    assert alias in (found := load_study(alias)).aliases
    assert load_study(alias.replace("_", "-").upper()) is found


def test_an_unknown_study_lists_the_known() -> None:
    with pytest.raises(UsageError, match="no study and no file is called 'x'; known are cache-la"):
        load_study("x")
    with pytest.raises(UsageError, match=r"nowhere.yaml: No such file"):
        load_study("nowhere.yaml")
