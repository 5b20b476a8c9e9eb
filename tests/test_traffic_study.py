"""The study of a trace's traffic: what it concludes from made-up times, and its pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.estimate import EXACT
from attnbench.analysis.ranking import rank
from attnbench.analysis.series import series_of
from attnbench.analysis.tuning import Contender
from attnbench.db.store import Store
from attnbench.families import FAMILIES
from attnbench.provenance.machine import Machine
from attnbench.records import Outcome, Status
from attnbench.specs.case import Case
from attnbench.studies.answers.base import Answer
from attnbench.studies.answers.traffic import answer
from attnbench.studies.cases import cells_of
from attnbench.studies.charts import Rows, as_facts, from_facts
from attnbench.studies.conclusion import Conclusion, conclude, conclusion_text
from attnbench.studies.decision import decided
from attnbench.studies.file import read_study
from attnbench.studies.page import rows_figure
from attnbench.studies.plots import write_plots
from attnbench.studies.traffic import TrafficAnalysis
from tests.stored_results import CPU, H100, H200, ON_CPU, attn, failed, measured, store_run, timed

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


def test_auto_in_single_rounds_is_the_quickest_and_not_the_best(tmp_path: Path) -> None:
    results: dict[Case, list[Outcome]] = {}
    for batch, seconds in all_three(1e-5, 1e-4, 1e-3).items():
        results[attn(batch, "triton")] = timed(attn(batch, "triton"), 2 * seconds)
        auto = timed(attn(batch, "auto"), seconds, resolved={"selected": "flash"})
        results[attn(batch, "auto")] = auto
    found = answer(series_of(measured(tmp_path, results)), analysis(), NOISE)
    assert found.lines[0].startswith("quickest in single rounds: auto: ")
    assert found.lines[1] == "vLLM takes flash by itself (auto), the quickest in single rounds"


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


LATE = (Status.TIMEOUT, "took too long")


@pytest.mark.parametrize(
    ("rounds", "best"),
    [
        # The early round of c is the least mean of a slowing device: a and b share two.
        ({"a": [1.06, 1.77], "b": [1.05, 1.94], "c": [1.1]}, "a, perhaps slower than "),
        # Nor is c the best by its one round, in which it took less.
        ({"a": [1.0, 1.9], "b": [1.2, 2.1], "c": [0.8]}, "a, perhaps slower than c, b: "),
        ({"a": [1.0, 1.9], "b": [1.2, 2.1], "c": [None, 1.8]}, "a, perhaps slower than c, b: "),
        ({"a": [1.0, 1.9], "b": [None, 1.8]}, "a, perhaps slower than b: "),
        ({"a": [1.0, 1.9], "b": [0.9]}, "b"),
    ],
)
def test_the_best_single_backend_is_that_of_a_ranking(
    tmp_path: Path, rounds: Mapping[str, Sequence[float | None]], best: str
) -> None:
    results = {
        attn(batch, name): [
            timed(attn(batch, name), 1e-4 * each)[0] if each else Outcome(*LATE) for each in listed
        ]
        for batch in (DECODE, MIXED, PREFILL)
        for name, listed in rounds.items()
    }
    listed = series_of(measured(tmp_path, results))
    line = answer(listed, analysis(), NOISE).lines[0]
    assert line.split(": ", 1)[1].startswith(best)
    decodes = [Contender.of(s) for s in listed if s.timed and str(s.case.batch) == DECODE]
    (ranking,) = rank(decodes, lambda *_: EXACT)
    assert ranking.best.series.case.backend == best[0]


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


@pytest.mark.parametrize(
    ("gpu", "machine", "is_doubted"),
    [("h200", H200, False), ("h100", H100, False), ("h200", H100, True), ("h200", CPU, False)],
)
def test_times_of_another_gpu_than_the_servers_are_doubted(
    gpu: str, machine: Machine, is_doubted: bool, tmp_path: Path
) -> None:
    text = STUDY.replace("    layers: 4", f"    gpu: {gpu}\n    layers: 4")
    results = {attn(spec, "sdpa"): timed(attn(spec, "sdpa"), 1e-3) for spec in all_three(1, 1, 1)}
    with Store.open(tmp_path / "r.db") as store:
        run = store_run(store, results, machine=machine)
        facts = {"name": "mine", "text": text}
        store.replan(run, {"study": facts, "methods": [ON_CPU.as_facts()]})
        doubts = conclude(store, run).doubts
    assert any(f"are those of a server on {gpu}, and" in each for each in doubts) == is_doubted
