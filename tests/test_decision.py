"""Decisions: rules of a stored run, that a file hands on."""

import json
import lzma
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from attnbench.analysis.decision import Implementation, place_of
from attnbench.analysis.regions import Spot, regions
from attnbench.cli import cli
from attnbench.commands.conclusion import Showing
from attnbench.db.store import Store
from attnbench.records import Outcome, Status
from attnbench.specs.batch import Batch, parse_batch_spec
from attnbench.specs.case import Case, Value
from attnbench.studies.conclusion import conclude
from attnbench.studies.decision import decided
from attnbench.studies.decision_text import decision_text
from attnbench.studies.request import study_of_plan
from attnbench.studies.serving import serving
from attnbench.studies.traffic import TrafficAnalysis
from attnbench.timing.method import Method
from tests.stored_results import H200, attn, failed, mla, store_run, timed
from tests.test_study_answers import rounds

RESULTS = Path(__file__).parent.parent / "docs" / "results"
WINNERS = 10  # the run of study winner-map


def rule_for(decision: Mapping[str, Any], batch: Batch) -> Mapping[str, Any]:
    """The rule of a decision in JSON that holds for a batch: the only one that does."""
    at = place_of(batch)
    return next(rule for rule in decision["rules"] if _holds(rule["where"], at))


def _holds(where: Mapping[str, Mapping[str, int]], at: Mapping[str, int]) -> bool:
    return all(
        limits.get("min", 0) <= at[name] <= limits.get("max", at[name])
        for name, limits in where.items()
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The studies of docs/results."""
    file = tmp_path_factory.mktemp("stored") / "studies.db"
    packed = RESULTS / "h200_served_studies.db.xz"
    file.write_bytes(lzma.decompress(packed.read_bytes()))
    return file


def test_a_file_gives_each_measured_batch_what_the_table_calls_best_or_tied(
    stored: Path, tmp_path: Path
) -> None:
    file = tmp_path / "decision.json"
    words = ["study", "decide", str(WINNERS), "--db", str(stored), "--decision", str(file)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    read = json.loads(file.read_text())
    assert (read["format"], read["version"]) == ("attnbench-decision", 1)
    assert (read["gpu"], read["software"]["vllm"]) == ("NVIDIA H200", "0.25.1")
    (decision,) = read["decisions"]
    with Store.open(stored) as store:
        table = conclude(store, WINNERS).tables[0].columns
    names = zip(table["best"], table.get("ties", [""] * 99), strict=False)
    good = [{text.split(",")[0] for text in (best, *ties.split("; "))} for best, ties in names]
    given = [rule_for(decision, parse_batch_spec(spec))["backend"] for spec in table["spec"]]
    assert len(given) == decision["measured"]["batches"] == 25
    assert [
        backend for backend, those in zip(given, good, strict=True) if backend not in those
    ] == []


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The studies of traffic of docs/results."""
    file = tmp_path_factory.mktemp("traffic") / "traffic.db"
    file.write_bytes(lzma.decompress((RESULTS / "h200_traffic.db.xz").read_bytes()))
    return file


@pytest.mark.parametrize("run", range(1, 20))
def test_a_file_gives_each_batch_of_a_trace_what_the_table_calls_best_or_tied(
    traffic: Path, tmp_path: Path, run: int
) -> None:
    file = tmp_path / "decision.json"
    words = ["study", "conclude", str(run), "--db", str(traffic), "--decision", str(file)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    (decision,) = json.loads(file.read_text())["decisions"]
    with Store.open(traffic) as store:
        study, _ = study_of_plan(store.plan(run)["study"])
        table = conclude(store, run).tables[-1].columns
    assert isinstance(study.analysis, TrafficAnalysis)
    good_ones = ("best", "quickest", "ties", "same work")
    places = zip(*(table[name] for name in good_ones if name in table), strict=True)
    for stratum, names in zip(study.analysis.strata, places, strict=True):
        good = {name.split(",")[0] for text in names for name in text.split("; ")}
        assert rule_for(decision, parse_batch_spec(stratum.batch))["backend"] in good


@pytest.mark.parametrize("run", [1, 2, 3, 4, 5, 6, 10, 11, 13])
def test_thresholds_splits_and_maps_are_decided_without_contest(stored: Path, run: int) -> None:
    with Store.open(stored) as store:
        found = decided(store, run).as_facts()
    most = max(len(each["rules"]) for each in found["decisions"])
    assert most <= MOST_RULES[run]
    assert all(each["contested"] == 0 for each in found["decisions"])
    assert json.loads(json.dumps(found)) == found


def test_a_threshold_is_a_path_by_length(stored: Path) -> None:
    with Store.open(stored) as store:
        first = decided(store, 1).as_facts()["decisions"][0]
    paths = {
        q_len: rule_for(first, parse_batch_spec(f"4q{q_len}kv2k"))["path"] for q_len in (8, 512)
    }
    assert paths == {8: "decode", 512: "prefill"}


MOST_RULES = {1: 7, 2: 8, 3: 7, 4: 6, 5: 16, 6: 6, 10: 10, 11: 5, 13: 7}
AXES = ("q_len", "batch_size")
spots = st.lists(
    st.tuples(
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        st.sets(st.sampled_from("abc"), min_size=1).map(frozenset),
    ).map(lambda pair: Spot(dict(zip(AXES, pair[0], strict=True)), pair[1])),
    min_size=1,
    max_size=14,
    unique_by=lambda spot: tuple(spot.at.values()),
)


@given(spots)
def test_regions_cover_everything_once_and_choose_what_is_good(measured: list[Spot[str]]) -> None:
    found = regions(measured, AXES, "abc")
    for q_len in range(1, 11):
        for batch_size in range(1, 11):
            at = {"q_len": q_len, "batch_size": batch_size}
            assert sum(region.holds(at) for region in found) == 1
    for spot in measured:
        (region,) = (region for region in found if region.holds(spot.at))
        assert region.choice in spot.good
        assert spot in region.spots


def lengths(good: dict[int, str]) -> list[Spot[str]]:
    return [Spot({"kv": length}, frozenset(those)) for length, those in good.items()]


def test_ties_make_one_rule_of_two() -> None:
    good = {1: "ab", 4: "b", 16: "ab", 64: "cb"}
    found = regions(
        [Spot({"kv": n}, frozenset(those)) for n, those in good.items()], ("kv",), "abc"
    )
    assert [(region.choice, region.limits) for region in found] == [("b", {})]


def test_a_border_is_between_the_lengths_that_were_measured() -> None:
    found = regions(
        [Spot({"kv": 1024}, frozenset("a")), Spot({"kv": 4096}, frozenset("b"))], ["kv"], "ab"
    )
    assert [(r.choice, r.limits["kv"]) for r in found] == [("a", (None, 2048)), ("b", (2049, None))]


def test_batches_that_no_limit_tells_apart_are_counted() -> None:
    found = regions([Spot({"kv": 8}, frozenset(good)) for good in ("a", "b", "b")], ["kv"], "ab")
    assert [region.choice for region in found] == ["b"]


TIMES = {"1q1kv1k": (1.0, 0.5), "16q1kv1k": (1.0, 0.8), "64q1kv1k": (1.0, 2.0)}  # flash, triton


def results() -> dict[Case, list[Outcome]]:
    found = {}
    for at, (spec, (flash, triton)) in enumerate(TIMES.items()):
        for backend, seconds in (("flash", flash), ("triton", triton)):
            case = attn(spec, backend)
            found[case] = timed(case, *rounds(seconds * 1e-3, 1e-3, 9 * at + len(backend)))
        reason = "is flash here, which this run measures"
        found[attn(spec, "auto")] = [
            Outcome(Status.REFUSED, reason, resolved={"selected": "flash"})
        ]
    return found


def test_decodes_with_a_layer_and_prefills_without_are_decided_together(tmp_path: Path) -> None:
    plain = Method("cudagraph")
    with Store.open(tmp_path / "a.db") as store:
        run = store_run(store, results(), machine=H200, method=replace(plain, between="layer"))
        for at, backend in enumerate(("flash", "triton")):
            prefill = attn("q2k", backend)
            for n, outcome in enumerate(timed(prefill, *rounds(1e-3 * (1 + at), 1e-3, at))):
                store.add(run, prefill, plain, round=n, position=100 * n + at, outcome=outcome)
        facts = decided(store, run).as_facts()
    (found,) = facts["decisions"]
    assert facts["notes"] == []
    assert found["measured"]["batches"] == len(TIMES) + 1
    assert rule_for(found, parse_batch_spec("q2k"))["backend"] == "flash"
    assert rule_for(found, parse_batch_spec("1q1kv1k"))["backend"] == "triton"


def test_of_two_methods_the_one_with_a_layer_decides(tmp_path: Path) -> None:
    plain = Method("cudagraph")
    with Store.open(tmp_path / "a.db") as store:
        cases = [attn("1q1kv1k", backend) for backend in ("flash", "triton")]
        back_to_back = {
            c: timed(c, *rounds(1e-5 * (1 + at), 1e-3, at)) for at, c in enumerate(cases)
        }
        run = store_run(store, back_to_back, machine=H200, method=plain)
        for at, case in enumerate(cases):
            for n, outcome in enumerate(timed(case, *rounds(3e-5 - 1e-5 * at, 1e-3, at))):
                method = replace(plain, between="layer")
                store.add(run, case, method, round=n, position=100 + 10 * n + at, outcome=outcome)
        facts = decided(store, run).as_facts()
    (found,) = facts["decisions"]
    (note,) = facts["notes"]
    assert "with and without a layer between calls count with it" in note
    assert [rule["backend"] for rule in found["rules"]] == ["triton"]


def decision(folder: Path) -> dict[str, Any]:
    with Store.open(str(folder / "a.db")) as store:
        (found,) = decided(store, store_run(store, results())).as_facts()["decisions"]
    return dict(found)


def test_gains_are_against_auto_where_its_choice_is_known(tmp_path: Path) -> None:
    found = decision(tmp_path)
    assert found["baseline"] == "auto"
    small, large = found["rules"]
    assert small["where"] == {"batch_size": {"max": 32}}
    assert small["backend"] == "triton"
    assert small["batches"] == 2
    assert small["vllm"]["arguments"] == ["--attention-backend", "TRITON_ATTN"]
    assert small["ratio_to_baseline"]["value"] == pytest.approx((0.5 * 0.8) ** 0.5, rel=0.01)
    assert large["backend"] == "flash"
    assert large["ratio_to_baseline"] == {"value": 1, "low": 1, "high": 1}  # auto takes flash too
    assert found["single"]["backend"] == "triton"
    assert found["single"]["ratio_to_rules"]["value"] == pytest.approx(2 ** (1 / 3), rel=0.01)


def test_one_for_all_loses_nothing_against_rules_that_no_server_can_follow(tmp_path: Path) -> None:
    """In place of sdpa, which vLLM does not have, the rules have the single choice."""
    seconds = {"q1kv1k": (2.0, 1.0, 3.0), "q512": (2.0, 3.0, 1.6)}
    results = {
        attn(spec, backend): timed(attn(spec, backend), *rounds(each * 1e-5, 1e-3, at))
        for at, (spec, times) in enumerate(seconds.items())
        for backend, each in zip(("flash", "sdpa", "triton"), times, strict=True)
    }
    with Store.open(tmp_path / "a.db") as store:
        found = decided(store, store_run(store, results))
    (decision,) = found.decisions
    assert {rule.choice.backend for rule in decision.rules} == {"sdpa", "triton"}
    assert decision.single.backend == "flash"
    assert decision.loss is not None
    assert decision.loss.ratio == pytest.approx((2.0 / 1.6) ** 0.5, rel=0.01)
    assert "in time against the rules that vLLM can follow" in " ".join(
        decision_text(found).split()
    )


def test_the_windows_of_the_model_are_no_setting_of_a_server(tmp_path: Path) -> None:
    cases = [attn("q1kv1k", "flash", mixed_windows=True), attn("q1kv1k", "triton")]
    found = {case: timed(case, *rounds(1e-5 * at, 1e-3)) for at, case in enumerate(cases, 1)}
    with Store.open(tmp_path / "a.db") as store:
        (given,) = decided(store, store_run(store, found)).as_facts()["decisions"]
    (rule,) = given["rules"]
    assert (rule["backend"], rule["settings"]) == ("flash", {})
    assert rule["vllm"]["not_settable"] == []


def test_one_for_all_without_a_time_of_some_batches_is_said_to_lack_them(tmp_path: Path) -> None:
    """As vLLM or attnbench refuses it there."""
    without = {("q1kv1k", "triton"), ("q512", "flash")}
    results = {
        attn(spec, backend): timed(attn(spec, backend), *rounds(seconds * 1e-5, 1e-3, at))
        for at, spec in enumerate(("q1kv1k", "8q1kv1k", "64q1kv1k", "q512"))
        for backend, seconds in (("flash", 1.0), ("triton", 1.2))
        if (spec, backend) not in without
    }
    with Store.open(tmp_path / "a.db") as store:
        found = decided(store, store_run(store, results))
    (given,) = found.as_facts()["decisions"]
    assert (given["single"]["backend"], given["single"]["batches"]) == ("flash", 3)
    said = " ".join(decision_text(found).split())
    assert (
        "one for all: flash (--attention-backend FLASH_ATTN), which has no time of 1 of the 4"
        in said
    )


def test_no_rule_has_what_an_unfinished_round_would_have_beaten(tmp_path: Path) -> None:
    """A single round is never the best, but flash took less in it than triton did."""
    results = {
        attn(spec, backend): timed(attn(spec, backend), *rounds(seconds * 1e-5, 1e-3, at))
        for at, spec in enumerate(("q1kv1k", "8q1kv1k", "64q1kv1k"))
        for backend, seconds in (("flash", 1.0), ("triton", 1.4))
    }
    del results[attn("8q1kv1k", "flash")][1:]
    with Store.open(tmp_path / "a.db") as store:
        (given,) = decided(store, store_run(store, results)).as_facts()["decisions"]
    assert [rule["backend"] for rule in given["rules"]] == ["flash"]


def test_what_failed_after_a_good_round_is_not_taken_for_it(tmp_path: Path) -> None:
    results = {
        attn("8q1kv1k", backend): timed(attn("8q1kv1k", backend), *rounds(seconds * 1e-5, 1e-3))
        for backend, seconds in (("flash", 1.0), ("triton", 1.4))
    }
    results[attn("8q1kv1k", "flash")][1:] = failed(Status.TIMEOUT, "did not end")
    with Store.open(tmp_path / "a.db") as store:
        (given,) = decided(store, store_run(store, results)).as_facts()["decisions"]
    assert [rule["backend"] for rule in given["rules"]] == ["triton"]
    assert given["failing"] == 0


def test_a_choice_of_which_a_round_failed_is_said(tmp_path: Path) -> None:
    flash, triton = (attn("8q1kv1k", backend) for backend in ("flash", "triton"))
    results = {flash: timed(flash, 1e-5, 1.01e-5), triton: timed(triton, 2e-5, 2e-5, 2e-5)}
    results[flash] += failed(Status.CRASHED, "signal 11")
    with Store.open(tmp_path / "a.db") as store:
        found = decided(store, store_run(store, results))
    (given,) = found.as_facts()["decisions"]
    assert ([rule["backend"] for rule in given["rules"]], given["failing"]) == (["flash"], 1)
    assert "in 1 batch a round of the choice failed" in decision_text(found)


def test_a_decision_is_shown_with_the_option_that_sets_it(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "a.db")) as store:
        run = store_run(store, results())
    words = ["study", "decide", str(run), "--db", str(tmp_path / "a.db")]
    done = CliRunner(env={"COLUMNS": "160"}).invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "2 rules for 3 measured batches" in done.output
    assert "to 32" in done.output
    assert "--attention-backend TRITON_ATTN" in done.output


def test_results_of_another_tool_are_not_decided_by(tmp_path: Path) -> None:
    row = {"backend": "FLASH_ATTN", "num_layers": 1, "num_q_heads": 32, "num_kv_heads": 8}
    config = {**row, "batch_spec": "q1k", "head_dim": 128, "block_size": 16, "dtype": "float16"}
    (tmp_path / "r.json").write_text(json.dumps([{"config": config, "mean_time": 1e-5}]))
    base = ["--db", str(tmp_path / "a.db")]
    read = CliRunner().invoke(cli, ["import", str(tmp_path / "r.json"), *base])
    assert read.exit_code == 0, read.output
    done = CliRunner().invoke(cli, ["study", "decide", "1", *base])
    assert done.exit_code == 2
    assert "run 1 has another tool's results, whose settings a server may" in done.output


def test_a_run_without_times_decides_nothing(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "a.db")) as store:
        run = store_run(store, {attn("q8", "flash"): [Outcome(Status.REFUSED, "needs a GPU")]})
    done = CliRunner().invoke(cli, ["study", "decide", str(run), "--db", str(tmp_path / "a.db")])
    assert done.exit_code == 2
    assert f"run {run} has no times to decide by" in done.output


Settings = tuple[tuple[str, Value], ...]


@pytest.mark.parametrize(
    ("family", "backend", "settings", "text"),
    [
        ("attn", "flash", (), "--attention-backend FLASH_ATTN"),
        ("attn", "auto", (), "no option"),
        (
            "attn",
            "flash",
            (("block_size", 32), ("layout", "HND"), ("num_splits", 4)),
            "VLLM_KV_CACHE_LAYOUT=HND --attention-backend FLASH_ATTN --block-size 32 "
            """--attention-config '{"flash_attn_max_num_splits_for_cuda_graph": 4}'""",
        ),
        (
            "mla",
            "triton_mla",
            (("num_splits", 4),),
            "--attention-backend TRITON_MLA; no option for num_splits 4",
        ),
        (
            "mla",
            "flashmla",
            (("prefill_backend", "fa3"),),
            """--attention-backend FLASHMLA --attention-config '{"mla_prefill_backend": """
            """"FLASH_ATTN", "flash_attn_version": 3}'""",
        ),
    ],
)
def test_a_server_is_set_by_options(
    family: str, backend: str, settings: Settings, text: str
) -> None:
    found = serving(family, Implementation(backend, settings))
    assert found is not None
    assert found.text == text


def test_what_vllm_does_not_have_cannot_be_served() -> None:
    assert serving("attn", Implementation("sdpa")) is None
    assert serving("attn", Implementation("a-kernel-of-mine")) is None


def test_a_threshold_has_no_option() -> None:
    choice = Implementation.of(mla("4q8kv1k", "flashmla", threshold=8))
    assert choice == Implementation("flashmla", (), "decode")
    found = serving("mla", choice)
    assert found is not None
    assert found.unset == ("the threshold",)


def test_of_two_that_tie_the_one_that_vllm_serves_is_chosen(tmp_path: Path) -> None:
    found = {}
    for at, spec in enumerate(("1q1kv1k", "4q1kv1k", "16q1kv1k")):
        for backend, seconds in (("sdpa", 1.0), ("flash", 1.001)):
            case = attn(spec, backend)
            found[case] = timed(case, *rounds(seconds * 1e-5, 2e-4, 9 * at + len(backend)))
    with Store.open(str(tmp_path / "a.db")) as store:
        (given,) = decided(store, store_run(store, found)).as_facts()["decisions"]
    (rule,) = given["rules"]
    assert (rule["backend"], rule["where"]) == ("flash", {})
    assert given["single"]["backend"] == "flash"
    assert given["single"]["vllm"]["arguments"] == ["--attention-backend", "FLASH_ATTN"]


def test_each_of_several_runs_has_its_own_files() -> None:
    shown = Showing(Path("plots"), "png", Path("out/decision.json")).of_run(3)
    assert (shown.plots, shown.decision) == (Path("plots/run-3"), Path("out/decision-run-3.json"))
    assert Showing(None, "png", None).of_run(3) == Showing(None, "png", None)
