"""Series: what the rounds of a case come to, and which series may be compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnbench.analysis.pairing import pair_up
from attnbench.analysis.series import Series, series_of
from attnbench.records import CacheState, Measurement, Status
from attnbench.timing.method import Method
from tests.stored_results import CPU, H200, ON_CPU, attn, cache_write, failed, measured, timed

CASE = attn("q512")


@pytest.fixture
def rounds(tmp_path: Path) -> list[Measurement]:
    return measured(tmp_path, {CASE: timed(CASE, 10e-6, 12e-6, 11e-6)})


def test_rounds_become_one_series_for_each_case(tmp_path: Path) -> None:
    other = attn("q512", "naive")
    found = series_of(
        measured(tmp_path, {CASE: timed(CASE, 1e-6, 2e-6), other: timed(other, 3e-6)})
    )
    assert [(series.case, len(series.rounds)) for series in found] == [(CASE, 2), (other, 1)]


@pytest.mark.parametrize(
    "changed", [{"method_key": "other"}, {"machine_model": "other"}, {"case_key": "other"}]
)
def test_another_case_method_or_machine_is_another_series(
    rounds: list[Measurement], changed: dict[str, str]
) -> None:
    assert len(series_of([*rounds, replace(rounds[0], **changed)])) == 2  # type: ignore[arg-type]


def test_the_time_is_the_geometric_mean_of_the_rounds_medians(rounds: list[Measurement]) -> None:
    (series,) = series_of(rounds)
    assert series.medians == pytest.approx((10e-6, 12e-6, 11e-6))
    assert series.time == pytest.approx((10e-6 * 12e-6 * 11e-6) ** (1 / 3))


def test_the_time_of_a_single_round_is_exactly_its_median(rounds: list[Measurement]) -> None:
    assert Series((rounds[0],)).time == rounds[0].median


def test_the_spread_is_half_the_range_over_the_rounds(rounds: list[Measurement]) -> None:
    (series,) = series_of(rounds)
    assert series.spread == pytest.approx(1 / 11, rel=0.01)


def test_the_spread_of_a_single_round_is_its_interval(rounds: list[Measurement]) -> None:
    series = Series((replace(rounds[0], median=10e-6, low=9e-6, high=10.5e-6),))
    assert series.spread == pytest.approx(0.075)


def test_rates_are_useful_work_over_the_time(rounds: list[Measurement]) -> None:
    (series,) = series_of(rounds)
    assert series.time is not None
    assert series.flops_per_second == pytest.approx(rounds[0].outcome.flops / series.time)
    assert series.bytes_per_second == pytest.approx(rounds[0].outcome.bytes / series.time)


def test_what_does_no_arithmetic_has_no_flop_rate(tmp_path: Path) -> None:
    case = cache_write(64, "NHD")
    (series,) = series_of(measured(tmp_path, {case: timed(case, 5e-6)}))
    assert series.flops_per_second is None
    assert series.bytes_per_second is not None


def test_a_failed_round_keeps_the_times_of_the_others(tmp_path: Path) -> None:
    outcomes = [*timed(CASE, 10e-6, 12e-6), *failed(Status.CRASHED, "signal 9")]
    (series,) = series_of(measured(tmp_path, {CASE: outcomes}))
    assert series.time == pytest.approx((10e-6 * 12e-6) ** 0.5)
    (failure,) = series.failures
    assert (failure.status, failure.outcome.reason) == ("crashed", "signal 9")


def test_a_case_that_was_incorrect_once_has_no_time(tmp_path: Path) -> None:
    outcomes = [*timed(CASE, 10e-6), *failed(Status.INCORRECT, "off"), *timed(CASE, 12e-6)]
    (series,) = series_of(measured(tmp_path, {CASE: outcomes}))
    assert (series.time, series.medians, dict(series.times)) == (None, (), {})
    assert [each.round for each in series.failures] == [1]


def test_what_was_refused_has_neither_time_nor_spread_nor_rates(tmp_path: Path) -> None:
    (series,) = series_of(measured(tmp_path, {CASE: failed(Status.REFUSED, "needs a GPU")}))
    assert (series.time, series.spread, series.cache_state) == (None, None, "")
    assert (series.flops_per_second, series.bytes_per_second) == (None, None)


def of_outcome(measurement: Measurement, **changed: Any) -> Measurement:
    return replace(measurement, outcome=replace(measurement.outcome, **changed))


def test_labels_are_the_union_over_the_rounds(rounds: list[Measurement]) -> None:
    labels = [("a",), ("b", "a"), ()]
    each = [of_outcome(m, labels=found) for m, found in zip(rounds, labels, strict=True)]
    assert Series(tuple(each)).labels == ("a", "b")


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (("cold", "cold"), "cold"),
        (("hot", "hot"), "hot"),
        (("cold", "mixed"), "mixed"),
        (("cold", "hot"), "mixed"),
    ],
)
def test_rounds_that_differ_in_cache_state_are_mixed(
    rounds: list[Measurement], states: tuple[str, str], state: str
) -> None:
    each = [of_outcome(m, cache_state=s) for m, s in zip(rounds, states, strict=False)]
    assert Series(tuple(each)).cache_state == state


def test_rounds_that_ran_different_kernels_name_both(rounds: list[Measurement]) -> None:
    each = [of_outcome(m, resolved={"k": k, "n": 1}) for m, k in zip(rounds, "aba", strict=True)]
    assert Series(tuple(each)).resolved == {"k": "a or b", "n": 1}


def one(folder: Path, *, method: Method = ON_CPU, state: CacheState = "cold") -> Series:
    outcomes = timed(CASE, 10e-6, cache_state=state)
    return series_of(measured(folder, {CASE: outcomes}, CPU, method))[0]


def on(series: Series, **changes: str) -> Series:
    return Series(tuple(replace(m, **changes) for m in series.rounds))  # type: ignore[arg-type]


def test_equal_series_pair(tmp_path: Path) -> None:
    base = one(tmp_path)
    found = pair_up([base], [base])
    assert [(pair.base, pair.head) for pair in found.pairs] == [(base, base)]
    assert not found.mismatches
    assert not found.only_base
    assert not found.only_head


def test_the_field_that_forbids_a_comparison_is_named(tmp_path: Path) -> None:
    base = one(tmp_path)
    heads = {
        "timer cpu -> eager, version 1 -> 3": one(tmp_path, method=Method("eager")),
        "samples unset -> 5": one(tmp_path, method=Method("cpu", samples=5)),
        "cache cold -> mixed": one(tmp_path, state="mixed"),
        f"{CPU.name} -> {H200.name}": on(base, machine_model="x", machine_name=H200.name),
        f"two models of {CPU.name}": on(base, machine_model="x"),
    }
    for difference, head in heads.items():
        found = pair_up([base], [head])
        assert not found.pairs
        assert [text for _, text in found.mismatches] == [difference]
        assert not found.only_base
        assert not found.only_head


def test_a_case_without_a_time_pairs_whatever_cache_state_the_other_reached(
    tmp_path: Path,
) -> None:
    (broken,) = series_of(measured(tmp_path, {CASE: failed(Status.CRASHED, "signal 9")}))
    found = pair_up([one(tmp_path)], [broken])
    assert len(found.pairs) == 1


def test_what_one_side_lacks_is_listed(tmp_path: Path) -> None:
    cases = [attn(spec) for spec in ("q1k", "q2k", "q4k")]
    first, second, third = series_of(measured(tmp_path, {c: timed(c, 1e-3) for c in cases}))
    found = pair_up([first, second], [second, third])
    assert [pair.base.case for pair in found.pairs] == [cases[1]]
    assert [series.case for series in found.only_base] == [cases[0]]
    assert [series.case for series in found.only_head] == [cases[2]]
