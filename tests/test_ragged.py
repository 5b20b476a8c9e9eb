"""Ragged batches with the work of equal ones, and what they cost."""

from pathlib import Path

import pytest

from attnbench.analysis.estimate import EXACT
from attnbench.analysis.fields import spec
from attnbench.analysis.lint import lint
from attnbench.analysis.ragged import shape_of
from attnbench.analysis.series import series_of
from attnbench.families import cost
from attnbench.records import Outcome, Status
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.ragged import SPREADS, spread_out
from attnbench.specs.sweep import expand_sweep
from attnbench.studies.answers.ragged import answer
from attnbench.studies.cases import cells_of
from attnbench.studies.charts import Heat
from attnbench.studies.heat import heat_map
from attnbench.studies.request import built_in
from tests.conftest import Attnbench
from tests.stored_results import H200, attn, measured, timed
from tests.test_study_answers import rounds


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("plain", ["16q1kv2k", "64q1kv8k", "7q512kv4k", "2q1kv1000", "q1kv9"])
def test_ragged_requests_have_the_work_of_equal_ones(plain: str, spread: str) -> None:
    equal, ragged = parse_batch_spec(plain), parse_batch_spec(f"{plain}~{spread}")
    assert (len(ragged), ragged.num_tokens) == (len(equal), equal.num_tokens)
    assert ragged.num_kv_tokens == equal.num_kv_tokens
    base, head = (cost(attn(str(batch)), 0) for batch in (equal, ragged))
    assert head.flops == pytest.approx(base.flops)
    assert head.bytes == pytest.approx(base.bytes)


def test_lengths_are_the_same_on_every_machine() -> None:
    assert spread_out(6, 100, "lognormal") == LOGNORMAL
    assert spread_out(6, 100, "sorted") == sorted(LOGNORMAL)
    assert spread_out(6, 100, "onelong") == [60, 60, 60, 300, 60, 60]
    assert spread_out(32, 100, "onelong")[16] == 800


LOGNORMAL = [102, 308, 13, 140, 10, 27]


def test_a_ragged_spec_sweeps_and_is_shown_as_it_was_written() -> None:
    found = expand_sweep("{16,64}q1kv8k~lognormal")
    assert [spec(batch) for batch in found] == ["16q1kv8k~lognormal", "64q1kv8k~lognormal"]
    again = [parse_batch_spec(str(batch)) for batch in found]
    assert again == found
    assert spec(parse_batch_spec("2q1kv1k_q1kv2k")) == "2q1kv1k_q1kv2k"
    assert shape_of(parse_batch_spec("2q1kv1k_q2kv2k")) is None


COSTS = {"flash": {"lognormal": 1.1, "sorted": 1.0, "onelong": 1.5}, "triton": {"onelong": 0.9}}


def results() -> dict[Case, list[Outcome]]:
    """Three rounds of two backends on three shapes, at known costs."""
    found, at = {}, 0
    for shape in ("16q1kv2k", "64q1kv8k", "16q1kv8k"):
        for backend, costs in COSTS.items():
            for spread in ("", *SPREADS):
                text = f"{shape}~{spread}" if spread else shape
                case, at = attn(text, backend), at + 1
                found[case] = timed(case, *rounds(1e-5 * costs.get(spread, 1.0), 5e-4, at))
    auto = attn("16q1kv2k", "auto")
    return found | {auto: [Outcome(Status.REFUSED, "is flash", resolved={"selected": "flash"})]}


def test_the_cost_of_each_spread_is_found_for_each_backend(tmp_path: Path) -> None:
    found = answer(series_of(measured(tmp_path, results())), lambda _: EXACT)
    first, most, other, *rest = found.lines
    assert first.startswith("flash, decode: against equal requests lognormal +10.")
    assert "(3 slower)" in first
    assert "onelong +5" in first
    assert most.startswith("flash, decode loses most at ")
    assert "~onelong: +" in most
    assert other.startswith("triton, decode: ")
    assert "onelong -" in other
    assert "onelong: best of 3 workloads: triton in 3" in rest
    assert any(line.startswith("auto, which vLLM takes by itself, is flash") for line in rest)
    table = found.tables[0].columns
    assert table["equal requests"][0] == "16q1kv2k"
    (chart,) = found.charts
    assert isinstance(chart, Heat)
    drawn = heat_map(chart, {})
    assert [cell.style if cell else "" for cell in drawn.rows[0][1]] == ["more", "plain", "more"]


def test_without_equal_requests_nothing_is_concluded(tmp_path: Path) -> None:
    ragged = {case: some for case, some in results().items() if not _is_equal(case)}
    found = answer(series_of(measured(tmp_path, ragged)), lambda _: EXACT)
    assert found.lines == ["not answered here: no shape has a time of equal and of ragged requests"]


def test_uneven_lengths_are_no_doubt_beside_equal_ones_but_beside_fewer_alike(
    tmp_path: Path,
) -> None:
    seconds = {"16q1kv2k": 4e-4, "64q1kv2k": 1e-3, "64q1kv2k~onelong": 5e-3}
    even = {attn(text): timed(attn(text), each) for text, each in seconds.items()}
    assert lint(series_of(measured(tmp_path, even, H200)), H200) == {}
    fewer = attn("16q1kv2k~onelong")
    found = lint(series_of(measured(tmp_path, even | {fewer: timed(fewer, 9e-3)}, H200)), H200)
    assert found == {"time falls while work doubles": ["sdpa 16q1kv2k~onelong to 64q1kv2k~onelong"]}


def _is_equal(case: Case) -> bool:
    found = shape_of(case.batch)
    return found is not None and found[1] is None


def test_the_study_measures_every_shape_with_every_spread() -> None:
    shapes: dict[object, set[object]] = {}
    for case in cells_of(built_in()["ragged"], "cuda").cases:
        known = shape_of(case.batch)
        assert known is not None
        shapes.setdefault((case.backend, known[0]), set()).add(known[1])
    assert len(shapes) == 4 * (3 * 2 + 2 * 2)
    assert all(spreads == {None, *SPREADS} for spreads in shapes.values())


def test_a_study_says_which_ragged_batches_were_asked_for(attnbench: Attnbench) -> None:
    asked = ["study", "ragged", "--batch-specs", "16q1kv2k", "16q1kv2k~sorted"]
    done = attnbench(*asked, "--device", "cpu", "--dry-run")
    assert "batch: 16q1kv2k 16q1kv2k~sorted (command line, before the file)" in done.stdout
