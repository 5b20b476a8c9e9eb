"""The study of a trace: its file, what it takes from traces and logs, and its command."""

from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.series import series_of
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.families import FAMILIES
from attnbench.records import RunStatus
from attnbench.studies.answers.traffic import answer
from attnbench.studies.cases import cells_of
from attnbench.studies.file import Study, read_study
from attnbench.studies.from_trace import study_of_trace, words_of_trace
from attnbench.studies.traffic import TrafficAnalysis
from attnbench.studies.variants import quick
from attnbench.traffic.options import TrafficOptions
from attnbench.traffic.summary import summarize
from tests.conftest import Attnbench
from tests.stored_results import attn, measured, timed
from tests.test_traffic_study import NOISE, STUDY, TRACES, around


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
