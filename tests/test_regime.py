"""Which cases are timed under load: by the work of their workload, on a GPU of known limits."""

from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.series import series_of
from attnbench.analysis.tuning import by_setting
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from attnbench.reporting.tables import results_tables
from attnbench.results.cohort import cohorts
from attnbench.running.execute import execute
from attnbench.running.messages import Job
from attnbench.running.regime import regime_of
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.timing.guard import unseen
from attnbench.timing.method import Method, Regime
from tests.conftest import small_case
from tests.stored_results import CPU, H200, measured, store_run, timed

ON_GPU, ON_CPU = Method("cudagraph", regime="auto"), Method("cpu", regime="auto")

SLOW = replace(CPU, l2_bytes=2**20, memory_bus_bits=8, max_memory_clock_hz=1000)


def attn(spec: str, backend: str = "flash") -> Case:
    return Case("attn", backend, parse_batch_spec(spec), AttnShape(), "bf16")


def mla(spec: str, heads: int = 16, backend: str = "flashmla", **knobs: int) -> Case:
    batch, shape = parse_batch_spec(spec), MlaShape(heads)
    return Case("mla", backend, batch, shape, "bf16", scope="layer", knobs=tuple(knobs.items()))


@pytest.mark.parametrize(
    ("case", "machine", "regime"),
    [
        (attn("q2k"), H200, "sustained"),
        (attn("q512kv8k"), H200, "sustained"),
        (attn("16q1kv32k"), H200, "sustained"),  # bytes are work too: HBM takes its part
        (mla("64q1kv4k", heads=128), H200, "sustained"),
        (attn("q512"), H200, "burst"),
        (attn("8q1kv1k"), H200, "burst"),
        (mla("8q1kv1k"), H200, "burst"),
        (attn("q2k"), CPU, "burst"),
        (attn("q2k"), replace(H200, memory_bus_bits=None), "burst"),
        (
            Case("cache-write", "torch", parse_batch_spec("q64k"), AttnShape(), "bf16"),
            H200,
            "burst",
        ),
    ],
)
def test_a_case_is_timed_under_load_where_a_gpu_has_much_to_do(
    case: Case, machine: Machine, regime: Regime
) -> None:
    assert regime_of(ON_GPU, case, machine) == regime


@pytest.mark.parametrize("asked", ["burst", "sustained"])
@pytest.mark.parametrize("case", [attn("q2k"), attn("q16")])
def test_a_regime_that_was_asked_for_is_taken(asked: Regime, case: Case) -> None:
    assert regime_of(replace(ON_GPU, regime=asked), case, H200) == asked


def test_all_implementations_of_a_workload_are_timed_alike() -> None:
    for tokens in range(1, 257):
        one = mla(f"q{tokens}kv8k", threshold=1)
        others = [mla(f"q{tokens}kv8k", threshold=256), replace(one, block_size=64, knobs=())]
        found = {regime_of(ON_GPU, each, H200) for each in (one, *others)}
        assert len(found) == 1, tokens


def test_both_classes_of_an_fp8_cache_are_timed_alike() -> None:
    for requests in range(1, 400, 3):
        one = replace(mla(f"{requests}q1kv2k"), kv_cache_dtype="fp8")
        found = {
            regime_of(ON_GPU, each, H200)
            for each in (one, replace(one, kv_cache_dtype="fp8_ds_mla"))
        }
        assert len(found) == 1, requests


@pytest.mark.parametrize(
    ("method", "labelled"),
    [(ON_CPU, True), (Method("cpu"), False)],
)
def test_the_row_says_which_load_came_first(method: Method, labelled: bool) -> None:
    job = Job(small_case(), method, 0, 1, profile_memory=False, host=False)
    outcome = execute(job, SLOW, unseen, lambda phase: None)
    assert ("sustained" in outcome.labels) is labelled
    assert (outcome.durations["warmup"] >= 1) is labelled


def test_a_knob_is_tuned_among_settings_that_were_timed_alike(tmp_path: Path) -> None:
    burst, loaded = mla("q64kv1k", threshold=1), mla("q64kv1k", threshold=64)
    results = {burst: timed(burst, 1e-3), loaded: timed(loaded, 2e-3, labels=("sustained",))}
    listed = series_of(measured(tmp_path, results, H200, ON_GPU))
    assert [len(each) for each in by_setting(listed, ("threshold",))] == [1, 1]


def test_rounds_that_were_not_timed_alike_are_told(tmp_path: Path) -> None:
    case = attn("q2k")
    rounds = [*timed(case, 70e-6), *timed(case, 75e-6, labels=("sustained",))]
    (series,) = series_of(measured(tmp_path, {case: rounds}, H200, ON_GPU))
    assert series.regime == "mixed"
    with Store.open(tmp_path / "mixed.db") as store:
        run = store_run(store, {case: rounds}, machine=H200, method=ON_GPU)
        text = results_tables(cohorts(store.measurements([run]), {run: store.run(run)}))
    assert "only some of its rounds were timed under load" in text
