"""`auto`: what vLLM takes by itself, measured once, and what it loses against the best."""

from collections.abc import Callable
from pathlib import Path

import pytest

from attnbench.analysis.estimate import EXACT
from attnbench.analysis.series import series_of
from attnbench.db.store import Store
from attnbench.kernels.registry import find
from attnbench.records import Outcome, Status
from attnbench.reporting.best import best_tables
from attnbench.reporting.tables import results_tables
from attnbench.results.cohort import cohorts
from attnbench.specs.case import Case
from attnbench.studies.analysis import WinnerAnalysis
from attnbench.studies.answers.winner import answer
from attnbench.studies.charts import Heat
from attnbench.studies.conclusion import conclude
from attnbench.studies.heat import heat_map
from tests.conftest import SMALL, Attnbench, small_case
from tests.stored_results import CPU, H200, attn, measured, store_run, timed
from tests.test_study_answers import rounds
from tests.test_study_conclusion import run_of

STANDS_FOR_NAIVE = '''
"""A backend that stands for another, as auto does where vLLM is."""
from dataclasses import replace
from attnbench.kernels.attn.naive import Naive

class Chosen(Naive):
    name = "chosen"

    def stands_for(self, case):
        return replace(case, backend="naive")
'''


@pytest.mark.parametrize("family", ["attn", "mla"])
def test_auto_needs_a_gpu_and_vllm(family: str) -> None:
    case, auto = small_case(family, "auto"), find(family, "auto")
    assert auto.refusal(case, CPU) == f"needs an NVIDIA GPU; this device is {CPU.label}"
    assert str(auto.refusal(case, H200)).startswith("needs vllm, which is not installed: pip")
    assert auto.stands_for(case) is None  # nobody was asked


def test_a_backend_that_stands_for_another_is_measured_as_that_one(
    tmp_path: Path, attnbench: Attnbench
) -> None:
    (tmp_path / "attn").mkdir()
    (tmp_path / "attn" / "chosen.py").write_text(STANDS_FOR_NAIVE)
    words = ["attn", *SMALL, "--batch-specs", "q8", "--rounds", "1", "--backend", "chosen"]
    both = attnbench(*words, "naive", ATTNBENCH_KERNELS=str(tmp_path))
    assert both.returncode == 0
    assert "refused: chosen q8: is naive here, which this run measures" in both.stdout
    alone = attnbench(*words, ATTNBENCH_KERNELS=str(tmp_path))
    assert "is naive here" not in alone.stdout
    doctor = attnbench("doctor", "--device", "cpu", ATTNBENCH_KERNELS=str(tmp_path)).stdout
    assert "  attn: chosen, naive" in doctor.splitlines()[1]


BATCHES = {"1q1kv1k": 1.0, "8q1kv1k": 1.2, "64q1kv1k": 0.8}  # flash's time over triton's


def results(auto: Callable[[str], list[Outcome]]) -> dict[Case, list[Outcome]]:
    """Two backends and auto, in three rounds of each batch."""
    found = {}
    for at, (spec, ratio) in enumerate(BATCHES.items()):
        flash, triton = (attn(spec, name, max_model_len=131072) for name in ("flash", "triton"))
        found[flash] = timed(flash, *rounds(ratio * 2e-4, 1e-3, at))
        found[triton] = timed(triton, *rounds(2e-4, 1e-3, at + 9))
        found[auto_case(spec)] = auto(spec)
    return found


def auto_case(spec: str) -> Case:
    """With all knobs of a server, as a command asks for it."""
    return attn(spec, "auto", decode_kernel="served", max_model_len=131072)


def is_flash(_: str) -> list[Outcome]:
    reason = "is flash here, which this run measures"
    return [Outcome(Status.REFUSED, reason, resolved={"selected": "flash"})]


def ran_as_flash(spec: str) -> list[Outcome]:
    return timed(auto_case(spec), *rounds(3e-4, 1e-3), resolved={"selected": "flash"})


def test_a_winner_map_says_what_auto_loses(tmp_path: Path) -> None:
    series = series_of(measured(tmp_path, results(is_flash)))
    found = answer(series, WinnerAnalysis(map=("batch_size", "kv_len")), lambda _: EXACT)
    text = "\n".join(found.lines)
    assert "auto, which vLLM takes by itself, is flash in 3" in text
    assert "auto is slower than the best outside noise in 1 of 3; its regret is +6." in text
    assert "auto loses most at 8q1kv1k: +2" in text
    assert "not answered" not in text
    table = found.tables[0].columns
    assert list(table["auto is"]) == ["flash"] * 3
    assert table["auto's regret"][0].startswith(("none", "+0.", "unclear"))
    assert table["auto's regret"][1].startswith("+2")
    assert table["auto's regret"][2] == "none"
    (chart,) = found.charts
    assert isinstance(chart, Heat)
    losing = [text for row in chart.texts for text in row if "auto +" in text]
    assert len(losing) == 1
    assert losing[0].startswith("triton\n1.2")
    assert "auto: the loss of vLLM's own choice." in heat_map(chart, {}).legend


BY_LENGTH = """
question: How does it grow?
family: attn
answer: {growth: {over: batch_size}}
sweep: [{backend: [flash, triton, auto], batch: "{batch_size}q1kv1k", batch_size: [1, 8, 64]}]
"""
BY_FIELD = """
question: Is triton the faster one?
family: attn
answer: {contrast: {field: backend, pairs: [[flash, triton]]}}
sweep: [{backend: [flash, triton, auto], batch: "{batch_size}q1kv1k", batch_size: [1, 8, 64]}]
"""


@pytest.mark.parametrize("text", [BY_LENGTH, BY_FIELD])
def test_a_study_that_ranks_no_backends_says_what_auto_loses(text: str, tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db") as store:
        lines = conclude(store, run_of(store, text, results(is_flash))).answer
    assert "auto, which vLLM takes by itself, is flash in 3 workloads" in lines
    assert any(line.startswith("auto loses most at 8q1kv1k: +2") for line in lines)


def test_auto_that_was_measured_itself_is_a_row_like_others(tmp_path: Path) -> None:
    series = series_of(measured(tmp_path, results(ran_as_flash)))
    found = answer(series, WinnerAnalysis(), lambda _: EXACT)
    assert "auto is slower than the best outside noise in 3 of 3" in "\n".join(found.lines)
    assert list(found.tables[0].columns["auto is"]) == ["flash"] * 3


def test_the_best_of_a_report_say_what_auto_loses(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "a.db")) as store:
        run = store_run(store, results(is_flash))
        listed = cohorts(store.measurements([run]), {run: store.run(run)})
        text = best_tables(listed, "table", width=200)
    assert "auto, which vLLM takes by itself, is flash in 3" in text
    assert "auto's regret" in text


def test_a_table_names_what_auto_was_if_nothing_is_beside_it(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "a.db")) as store:
        run = store_run(store, {auto_case("q8"): ran_as_flash("q8")})
        text = results_tables(cohorts(store.measurements([run]), {run: store.run(run)}))
    assert "auto, which vLLM takes by itself, is flash here" in text
