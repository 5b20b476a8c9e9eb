"""The study of a trace's traffic: its file, what it concludes from made-up times, its pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.estimate import EXACT
from attnbench.analysis.series import series_of
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.records import Outcome, RunStatus, Status
from attnbench.specs.case import Case
from attnbench.studies.answers.base import Answer
from attnbench.studies.answers.traffic import answer
from attnbench.studies.cases import cells_of
from attnbench.studies.charts import Rows, as_facts, from_facts
from attnbench.studies.conclusion import Conclusion, conclude, conclusion_text
from attnbench.studies.decision import decided
from attnbench.studies.file import Study, read_study
from attnbench.studies.from_trace import study_of_trace, words_of_trace
from attnbench.studies.page import rows_figure
from attnbench.studies.plots import write_plots
from attnbench.studies.traffic import TrafficAnalysis
from attnbench.studies.variants import quick
from attnbench.traffic.options import TrafficOptions
from attnbench.traffic.summary import summarize
from tests.conftest import Attnbench
from tests.stored_results import H200, ON_CPU, attn, failed, measured, store_run, timed

TRACES = Path(__file__).parent / "data" / "traces"
STUDY = """\
question: Which backend is best for the traffic of mine.csv?
family: attn
answer:
  traffic:
    trace: mine.csv
    requests: 100
    tokens: 2000
    counted: output tokens
    layers: 4
    loss: 0.01
    margin: 0.02
    batches:
      - {kind: decode, steps: 900, batch: 8q1kv1k}
      - {kind: mixed, steps: 90, batch: q512_8q1kv1k}
      - {kind: prefill, steps: 10, batch: q2k}
sweep:
  - model: llama3-8b
"""
DECODE, MIXED, PREFILL = "8q1kv1k", "8q1kv1k_q512", "q2k"
NOISE = lambda _: EXACT  # noqa: E731


def analysis(text: str = STUDY) -> TrafficAnalysis:
    found = read_study(text, "mine", "mine.yaml", FAMILIES).analysis
    assert isinstance(found, TrafficAnalysis)
    return found


def around(seconds: float) -> list[float]:
    return [seconds, seconds * 1.001, seconds * 0.999]


def concluded(
    folder: Path,
    times: Mapping[str, Mapping[str, float]],
    refused: Sequence[tuple[str, str]] = (),
    text: str = STUDY,
) -> Answer:
    """The answer from times by backend and batch."""
    results: dict[Case, list[Outcome]] = {}
    for backend, by_batch in times.items():
        for batch, seconds in by_batch.items():
            case = attn(batch, backend)
            results[case] = timed(case, *around(seconds))
    for backend, batch in refused:
        results[attn(batch, backend)] = failed(Status.REFUSED, "needs SM100")
    return answer(series_of(measured(folder, results)), analysis(text), NOISE)


def all_three(decode: float, mixed: float, prefill: float) -> dict[str, float]:
    return {DECODE: decode, MIXED: mixed, PREFILL: prefill}


def test_totals_weigh_steps_layers_and_tokens_of_the_trace(tmp_path: Path) -> None:
    found = concluded(tmp_path, {"sdpa": all_three(1e-5, 1e-4, 1e-3)})
    # 4 layers x (900 x 10 us + 90 x 100 us + 10 x 1 ms) = 112 ms for 2000 tokens, 100 requests.
    assert "56.0 s [55.9 s, 56.1 s] of attention on each GPU per million output" in found.lines[0]
    assert "1.12 ms [1.12 ms, 1.12 ms] per request" in found.lines[0]
    totals = found.tables[0].columns
    shares = [totals[f"{kind} %"] for kind in ("decode", "mixed", "prefill")]
    assert shares == [["32.1"], ["32.1"], ["35.7"]]


def test_the_best_single_backend_and_the_best_for_each_kind_of_step(tmp_path: Path) -> None:
    times = {"a": all_three(1e-5, 1e-4, 1e-3), "b": all_three(0.5e-5, 2e-4, 2e-3)}
    found = concluded(tmp_path, times)
    assert found.lines[0].startswith("best single backend: a: 56.0 s")
    assert found.lines[1].startswith("best by kind of step: b for decode, a for mixed, a for pref")
    assert "-16.1 % [-16." in found.lines[1]
    assert found.lines[1].endswith("attention time against a for all: worth having")
    assert found.tables[1].columns["best"] == ["b", "a", "a"]
    assert found.tables[0].columns["backend"] == ["a", "b"]


@pytest.mark.parametrize(
    ("decode", "said"),
    [
        (0.98e-5, "a for prefill: -0.6 % [-0."),
        (1.0e-5, "a for all, as no other is shown to be faster in decode, mixed or prefill steps"),
    ],
)
def test_a_policy_is_not_advised_for_less_than_the_margin(
    decode: float, said: str, tmp_path: Path
) -> None:
    times = {"a": all_three(1e-5, 1e-4, 1e-3), "b": all_three(decode, 2e-4, 2e-3)}
    found = concluded(tmp_path, times)
    assert said in found.lines[1]
    assert "worth having, as it is within 1 %" in found.lines[1] or decode == 1e-5


def test_a_policy_keeps_the_single_backend_where_another_is_hardly_faster(tmp_path: Path) -> None:
    times = {
        "a": all_three(1e-5, 1e-4, 1e-3),
        "b": all_three(0.5e-5, 2e-4, 2e-3),
        "c": all_three(5e-5, 0.995e-4, 2e-3),
    }
    found = concluded(tmp_path, times)
    assert found.lines[1].startswith("best by kind of step: b for decode, a for mixed, a for pref")
    assert found.tables[1].columns["best"] == ["b", "c", "a"]


def test_what_no_server_runs_is_a_mark_and_no_candidate(tmp_path: Path) -> None:
    times = {
        "sdpa": all_three(0.5e-5, 0.5e-4, 0.5e-3),
        "flash": all_three(1e-5, 1e-4, 1e-3),
        "triton": all_three(2e-5, 2e-4, 2e-3),
    }
    found = concluded(tmp_path, times)
    assert found.lines[0].startswith("best single backend: flash: 56.0 s")
    assert found.lines[1].startswith("not in vLLM, so not a candidate: sdpa: -50.0 % [-50.")
    assert found.lines[2].startswith("best by kind of step: flash for all")
    assert found.tables[0].columns["backend"] == ["flash", "triton", "sdpa"]


def test_what_no_server_runs_is_named_where_it_is_slower_too(tmp_path: Path) -> None:
    times = {"sdpa": all_three(2e-5, 2e-4, 2e-3), "flash": all_three(1e-5, 1e-4, 1e-3)}
    found = concluded(tmp_path, times)
    assert found.lines[1].startswith("not in vLLM, so not a candidate: sdpa: +100.0 % [+99.8")
    assert found.lines[2].startswith("best by kind of step: flash for all")


def test_a_backend_without_a_batch_has_no_total_but_may_be_best_of_a_kind(tmp_path: Path) -> None:
    times = {"a": all_three(1e-5, 1e-4, 1e-3), "b": {DECODE: 0.5e-5, MIXED: 1e-4}}
    found = concluded(tmp_path, times, refused=[("b", PREFILL)])
    assert found.lines[0].startswith("best single backend: a: 56.0 s")
    assert "b for decode" in found.lines[1]
    assert (
        "b: no total: 1 of 3 batches (prefill; 1 % of the steps) have no time: needs SM100"
        in found.lines
    )
    assert found.tables[0].columns["backend"] == ["a"]


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("a", "vLLM takes a by itself (auto), the best single backend"),
        ("b", "vLLM takes b by itself (auto): +100.0 % [+99."),
        ("c", "vLLM takes c by itself (auto), which has no total here"),
    ],
)
def test_auto_is_told_by_the_backend_that_it_stands_for(
    taken: str, said: str, tmp_path: Path
) -> None:
    batches = all_three(1e-5, 1e-4, 1e-3)
    results: dict[Case, list[Outcome]] = {}
    for batch, seconds in batches.items():
        for name, factor in (("a", 1), ("b", 2)):
            results[attn(batch, name)] = timed(attn(batch, name), *around(factor * seconds))
        reason = f"is {taken} here, which this run measures"
        twin = Outcome(Status.REFUSED, reason, resolved={"selected": taken})
        results[attn(batch, "auto")] = [twin]
    found = answer(series_of(measured(tmp_path, results)), analysis(), NOISE)
    assert found.lines[1].startswith(said)
    assert found.tables[0].columns["backend"] == ["a", "b"]
    assert not any(line.startswith("auto: no total") for line in found.lines)


def test_auto_that_was_measured_itself_is_a_contender(tmp_path: Path) -> None:
    results: dict[Case, list[Outcome]] = {}
    for batch, seconds in all_three(1e-5, 1e-4, 1e-3).items():
        results[attn(batch, "triton")] = timed(attn(batch, "triton"), *around(seconds))
        auto = timed(attn(batch, "auto"), *around(2 * seconds), resolved={"selected": "flash"})
        results[attn(batch, "auto")] = auto
    found = answer(series_of(measured(tmp_path, results)), analysis(), NOISE)
    assert found.lines[1].startswith("vLLM takes flash by itself (auto): +100.0 % [+99.")
    assert found.tables[0].columns["backend"] == ["triton", "auto"]


def test_without_a_complete_backend_the_kinds_are_told_alone(tmp_path: Path) -> None:
    times = {"a": {DECODE: 1e-5, MIXED: 1e-4}, "b": {PREFILL: 1e-3}}
    found = concluded(tmp_path, times)
    assert found.lines[0] == "no backend has a time of every batch, so none has a total"
    assert found.lines[1].startswith("decode steps alone: a: 18.0 s [")
    assert found.lines[3].startswith("prefill steps alone: b: 20.0 s [")
    assert "a: no total: 1 of 3 batches (prefill; 1 % of the steps) have no time: not measured" in (
        found.lines
    )


def test_single_rounds_are_no_claim(tmp_path: Path) -> None:
    cases = [attn(batch, name) for batch in (DECODE, MIXED, PREFILL) for name in "ab"]
    results = {case: timed(case, 1e-5 if case.backend == "a" else 2e-5) for case in cases}
    found = answer(series_of(measured(tmp_path, results)), analysis(), NOISE)
    assert found.lines[0].startswith("quickest in single rounds: a: ")
    assert "(one round: no interval)" in found.lines[0]
    assert "a for all" in found.lines[1]


@pytest.mark.parametrize("missing", [0, 1])
def test_totals_over_other_rounds_than_the_comparison_say_so(tmp_path: Path, missing: int) -> None:
    """On a device that slows down, the one that lacks the last round is not the best by that."""
    rounds = {"a": [1.0, 1.1, 1.5], "b": [1.02, 1.12, 1.53][: 3 - missing]}
    results = {
        attn(batch, name): timed(attn(batch, name), *(1e-4 * each for each in factors))
        for batch in (DECODE, MIXED, PREFILL)
        for name, factors in rounds.items()
    }
    found = answer(series_of(measured(tmp_path, results)), analysis(), NOISE)
    heading = found.tables[0].heading
    said = "; against the best over the rounds that both have"
    assert heading.endswith(said) is bool(missing)
    assert found.lines[0].startswith("best single backend: a")
    assert found.tables[0].columns["backend"] == ["a", "b"]


def test_two_rounds_that_are_too_different_give_no_interval(tmp_path: Path) -> None:
    cases = [attn(batch, "a") for batch in (DECODE, MIXED, PREFILL)]
    results = {case: timed(case, 1e-5, 3e-5) for case in cases}
    found = answer(series_of(measured(tmp_path, results)), analysis(), NOISE)
    assert "a, the only one: 34.6 s (rounds are too different for an interval)" in found.lines[0]
    assert found.tables[0].columns["95 % interval, s"] == ["-"]


def test_what_scope_layer_adds_is_said(tmp_path: Path) -> None:
    cases = [replace(attn(batch), scope="layer") for batch in (DECODE, MIXED, PREFILL)]
    results = {case: timed(case, *around(1e-5)) for case in cases}
    found = answer(series_of(measured(tmp_path, results)), analysis(), NOISE)
    assert "] of attention at scope layer on each GPU per million output tokens" in found.lines[0]


def test_the_error_of_the_reduction_stands_apart(tmp_path: Path) -> None:
    found = concluded(tmp_path, {"sdpa": all_three(1e-5, 1e-4, 1e-3)})
    assert found.lines[-1].startswith("3 batches stand for 1000 steps, 4 layers count alike; by ")
    assert (
        "+1.00 % off that of all steps, and 95 % of random draws would be within ±2.00 %"
        in (found.lines[-1])
    )


def test_each_workload_has_its_own_totals(tmp_path: Path) -> None:
    cases = [attn(batch, "a", dtype) for batch in (DECODE, MIXED, PREFILL)
             for dtype in ("fp16", "fp32")]  # fmt: skip
    results = {case: timed(case, *around(1e-5)) for case in cases}
    found = answer(series_of(measured(tmp_path, results)), analysis(), NOISE)
    assert found.lines[0].startswith("dtype fp16: best single backend: a, the only one: 20.0 s")
    assert any(line.startswith("dtype fp32: best single backend: a") for line in found.lines)
    assert [chart.title for chart in found.charts][::2] == [
        "Attention time by kind of step: dtype fp16",
        "Attention time by kind of step: dtype fp32",
    ]


def test_settings_of_one_backend_are_contenders(tmp_path: Path) -> None:
    times = {"flash": 1e-5, "other": 3e-5}
    results = {}
    for batch in (DECODE, MIXED, PREFILL):
        for splits in (1, 2):
            case = attn(batch, "flash", num_splits=splits)
            results[case] = timed(case, *around(splits * times["flash"]))
        results[attn(batch, "other")] = timed(attn(batch, "other"), *around(times["other"]))
    found = answer(series_of(measured(tmp_path, results)), analysis(), NOISE)
    assert found.tables[0].columns["backend"] == [
        "flash, num_splits 1",
        "flash, num_splits 2",
        "other",
    ]


def test_a_conclusion_is_computed_again_from_the_database_alone(tmp_path: Path) -> None:
    study = read_study(STUDY, "mine", "mine.yaml", FAMILIES)
    cases = [case for case in cells_of(study, "cpu").cases if case.backend == "sdpa"]
    results = {case: timed(case, *around(1e-5)) for case in cases}
    with Store.open(tmp_path / "stored.db") as store:
        run = store_run(store, results)
        facts = {"name": "mine", "text": STUDY, "left_out": {}}
        store.replan(run, {"study": facts, "methods": [ON_CPU.as_facts()]})
        found = conclude(store, run)
        stored = store.conclusion(run)
    assert stored is not None
    assert json.dumps(stored) == json.dumps(found.as_facts())
    assert conclusion_text(Conclusion.from_facts(stored)) == conclusion_text(found)
    assert found.answer[0].startswith("best single backend: sdpa, the only one: 20.0 s")


def test_pictures_have_a_row_for_each_kind_and_batch(tmp_path: Path) -> None:
    times = {"a": all_three(1e-5, 1e-4, 1e-3), "b": {DECODE: 0.5e-5}}
    by_kind, by_batch = concluded(tmp_path, times).charts
    assert isinstance(by_kind, Rows)
    assert isinstance(by_batch, Rows)
    assert by_kind.rows == ["all steps", "decode steps", "mixed steps", "prefill steps"]
    assert [spot[0] for spot in by_kind.series["b"]] == [1]
    assert by_kind.series["a"][0][1] == pytest.approx(56.0, rel=1e-3)
    assert by_batch.rows[1] == "mixed: 9 requests, 8704 tokens, 520 new"
    assert from_facts(as_facts(by_batch)) == by_batch
    figure = rows_figure(by_batch, {"b": 5})
    assert [each["slot"] for each in figure["series"]] == [0, 5]
    assert figure["x"]["log"] is False


def test_pictures_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    times = {"a": all_three(1e-5, 1e-4, 1e-3), "b": all_three(1e-6, 2e-4, 2e-3)}
    found = concluded(tmp_path, times)
    told = Conclusion(
        "mine", "?", [], "here", [], found.lines, ["3 of 3"], found.tables, found.charts
    )
    drawn = write_plots(told, tmp_path, "svg")
    assert [path.name for path in drawn] == [
        "mine-1-attention-time-by-kind-of-step.svg",
        "mine-2-attention-time-by-batch-with-its-weight.svg",
    ]
    assert all("</svg>" in path.read_text() for path in drawn)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    layers: 4\n", "", "mine.yaml:5: traffic: the key layers is missing"),
        ("steps: 900", "steps: 0.5", "steps: expected a whole number from 1, read '0.5'"),
        ("loss: 0.01", "loss: .nan", "loss: expected a number from -1.0, read '.nan'"),
        ("kind: mixed", "kind: both", "kind: 'both' is none of decode, mixed, prefill"),
        ("batch: q2k", "batch: 2k", "mine.yaml:15: batch: "),
        ("steps: 10, ", "", "the key steps of a batch is missing"),
        ("- model: llama3-8b", "- {model: llama3-8b, batch: q1}", "leave batches and lengths out"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_key(old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"mine\.yaml") as error:
        read_study(STUDY.replace(old, new), "mine", "mine.yaml", FAMILIES)
    assert message in str(error.value)


def test_none_of_the_batches_can_be_left_out() -> None:
    with pytest.raises(UsageError, match="ask for one round"):
        quick(read_study(STUDY, "mine", "mine.yaml", FAMILIES))


def of_trace(**options: object) -> Study:
    trace = TRACES / "azure_conv_300.csv"
    return study_of_trace(trace, TrafficOptions(batches=6, **options))  # type: ignore[arg-type]


def test_a_study_of_a_trace_holds_its_steps_and_tokens() -> None:
    found = of_trace(model="llama3-70b", tp=8)
    assert isinstance(found.analysis, TrafficAnalysis)
    assert (found.family, found.analysis.layers, found.analysis.requests) == ("attn", 80, 300)
    assert found.analysis.gpu == "h200"
    lines = (TRACES / "azure_conv_300.csv").read_text().splitlines()[1:]
    assert found.analysis.tokens == sum(int(line.split(",")[2]) for line in lines)
    (case, *others) = cells_of(found, "cuda").cases
    assert case.shape.num_q_heads == 8
    assert {str(c.batch) for c in (case, *others)} == {s.batch for s in found.analysis.strata}


def test_mla_is_studied_at_scope_layer_where_its_paths_do_equal_work() -> None:
    study = of_trace(model="deepseek-v3", tp=8)
    (product,) = study.sweep
    one = replace(study, sweep=(replace(product, backends=("flashmla",)),))
    cases = cells_of(one, "cuda").cases
    assert {(case.family, case.scope) for case in cases} == {("mla", "layer")}


def test_the_words_to_go_on_name_all_that_differs_from_the_defaults() -> None:
    asked = TrafficOptions(model="llama3-70b", tp=8, rate=2.5)
    assert words_of_trace(Path("mine.csv"), asked) == [
        *("traffic", "--trace", "mine.csv", "--rate", "2.5"),
        *("--model", "llama3-70b", "--tp", "8"),
    ]


ALL_DECODES = "      - {kind: decode, steps: 900, batch: 8q1kv1k}\n"
TWO_STRATA = "".join(ALL_DECODES.replace("900", steps) for steps in ("899", "1"))


@pytest.mark.parametrize(
    "text", [STUDY, STUDY.replace(ALL_DECODES, TWO_STRATA)], ids=["one stratum", "two of one batch"]
)
def test_one_for_all_is_the_best_single_backend_of_the_traffic(tmp_path: Path, text: str) -> None:
    """Triton is the better one in two of three batches, which are a sixth of the time."""
    microseconds = {DECODE: (1000, 1300), MIXED: (2000, 1000), PREFILL: (3000, 2000)}
    results = {
        attn(spec, backend): timed(attn(spec, backend), *around(each * 1e-6))
        for spec, times in microseconds.items()
        for backend, each in zip(("flash", "triton"), times, strict=True)
    }
    with Store.open(tmp_path / "r.db") as store:
        run = store_run(store, results, machine=H200)
        facts = {"name": "mine", "text": text}
        store.replan(run, {"study": facts, "methods": [ON_CPU.as_facts()]})
        assert conclude(store, run).answer[0].startswith("best single backend: flash: ")
        (decision,) = decided(store, run).decisions
    assert decision.single.backend == "flash"
    assert decision.loss is not None
    assert 1.0 < decision.loss.ratio < 1.2


def test_a_sparse_models_question_says_that_its_attention_is_taken_as_dense() -> None:
    assert of_trace(model="glm-5", tp=16).question.endswith("on glm-5 with dense attention?")


def test_requests_that_the_server_refuses_are_left_out(tmp_path: Path) -> None:
    trace = tmp_path / "long.csv"
    rows = ["0,40000,9", "1,40959,1", "2,40960,1"]
    trace.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *rows]))
    asked = TrafficOptions(model="qwen3-8b")
    assert summarize(trace, asked).origin.too_long == 1
    longer = replace(asked, max_model_len=50000)
    assert summarize(trace, longer).origin.too_long == 0
    study = study_of_trace(trace, longer)
    (product,) = study.sweep
    one = replace(study, sweep=(replace(product, backends=("flash",)),))
    assert {case.knob("max_model_len") for case in cells_of(one, "cuda").cases} == {50000}


def test_a_step_of_fewer_tokens_runs_fewer_requests_as_in_vllm() -> None:
    trace = TRACES / "azure_conv_300.csv"
    asked = TrafficOptions(max_num_batched_tokens=512)
    assert summarize(trace, asked).limits.max_num_seqs == 512


def test_a_log_of_served_batches_counts_new_tokens(tmp_path: Path) -> None:
    log = tmp_path / "steps.jsonl"
    log.write_text('{"new": [1, 512], "total": [900, 512]}\n{"new": [1, 1], "total": [901, 513]}\n')
    found = study_of_trace(log, TrafficOptions()).analysis
    assert isinstance(found, TrafficAnalysis)
    assert (found.counted, found.tokens, found.requests) == ("new tokens", 515, 0)
    results = {attn(s.batch): timed(attn(s.batch), *around(1e-5)) for s in found.strata}
    said = answer(series_of(measured(tmp_path, results)), found, NOISE).lines[0]
    total = 32 * 2 * 1e-5 / 515 * 1e6
    assert f"{total:.2f} s [" in said
    assert said.endswith("per million new tokens")


def test_decodes_of_a_log_may_have_speculative_tokens(tmp_path: Path) -> None:
    log = tmp_path / "steps.jsonl"
    log.write_text('{"new": [4, 4], "total": [900, 512]}\n{"new": [4, 90], "total": [904, 90]}\n')
    kinds = {}
    for tokens in (0, 3):
        batches = summarize(log, TrafficOptions(spec_tokens=tokens)).reduction.batches
        kinds[tokens] = [each.kind for each in batches]
    assert kinds == {0: ["prefill", "prefill"], 3: ["decode", "mixed"]}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (TrafficOptions(rate=2.0), "--rate does not apply to a log of served batches"),
        (TrafficOptions(kv_tokens=9000), "--kv-tokens does not apply to a log of served batches"),
        (TrafficOptions(spec_tokens=3, acceptance=0.5), "--acceptance does not apply to a log"),
        (TrafficOptions(max_model_len=600), "less than the 900 tokens of a request in the log"),
        (TrafficOptions(max_model_len=600), "e.g. --max-model-len 900"),
    ],
)
def test_what_does_not_fit_a_log_is_refused(
    asked: TrafficOptions, message: str, tmp_path: Path
) -> None:
    log = tmp_path / "steps.jsonl"
    log.write_text('{"new": [1, 512], "total": [900, 512]}\n')
    with pytest.raises(UsageError, match=message):
        summarize(log, asked)


def test_the_command_measures_concludes_and_refuses_to_mix_batches(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    trace = tmp_path / "few.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,20,4\n0.00001,12,2\n5,16,3\n")
    asked = ["study", "traffic", "--trace", str(trace), "--batches", "4", "--tp", "8"]
    few = ["--backend", "sdpa", "--device", "cpu", "--repeats", "3", "--num-layers", "2"]
    found = attnbench(*asked, *few, "--rounds", "2")
    assert found.returncode == 0, found.stderr
    assert "best single backend: sdpa, the only one: " in found.stdout
    assert "Kinds of steps; time is sdpa's" in found.stdout
    again = attnbench("study", "conclude", "1")
    assert again.stdout == found.stdout
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        store.finish_run(1, RunStatus.INTERRUPTED)
    other = attnbench(*asked, *few, "--rounds", "2", "--batches", "3", "--resume")
    assert other.returncode == 2
    assert "that had --trace few.csv in 4 batches, " in other.stderr
    resumed = attnbench(*asked, *few, "--rounds", "2", "--resume")
    assert (resumed.returncode, resumed.stdout) == (0, found.stdout)
    with Store.open(tmp_path / "attnbench.db", create=False) as store:
        store.finish_run(1, RunStatus.INTERRUPTED)
    unlike = attnbench(*asked, "--backend", "naive", "--resume")
    assert unlike.returncode == 2
    assert "that had --backend sdpa, not naive; leave the option out" in unlike.stderr
    as_said = attnbench(*asked, "--resume", "1")  # the line that is printed on Ctrl-C
    assert (as_said.returncode, as_said.stdout) == (0, found.stdout)
    refused = attnbench(*asked, *few, "--batch-specs", "q1")
    assert refused.returncode == 2
    assert "--batch-specs: the batches of traffic-few-llama3-8b are those of a trace" in (
        refused.stderr
    )


@pytest.mark.parametrize(
    ("words", "file"), [([], "requests.csv"), (["my trace.csv"], "'my trace.csv'")]
)
def test_a_missing_trace_is_asked_for_with_an_example(
    attnbench: Attnbench, words: list[str], file: str
) -> None:
    refused = attnbench("study", "traffic", *words)
    assert refused.returncode == 2
    assert f"e.g. attnbench study traffic --trace {file}" in refused.stderr
