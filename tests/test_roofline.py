"""The roofline: the least time that the hardware allows, and how near a time is to it."""

from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.roofline import (
    is_above_roofline,
    is_impossible,
    measured_fraction,
    roofline,
    roofline_fraction,
)
from attnbench.analysis.series import Series, series_of
from attnbench.provenance.machine import Machine
from attnbench.provenance.peaks import Peaks
from attnbench.records import CacheState, Status
from attnbench.specs.case import Dtype
from attnbench.timing.sentinels import Sentinels
from tests.stored_results import CPU, H200, attn, failed, measured, timed

PEAKS = Peaks(132 * 4096 * 1.98e9, 6144 / 8 * 3.201e9 * 2)  # of the H200
CASE = attn("q2k", dtype="bf16")


@pytest.mark.parametrize(
    ("flops", "bytes_moved", "floor", "bound"),
    [
        (PEAKS.flops_per_second, 0.0, 1.0, "compute"),
        (0.0, 2 * PEAKS.bytes_per_second, 2.0, "memory"),
        (3 * PEAKS.flops_per_second, 2 * PEAKS.bytes_per_second, 3.0, "compute"),
        (3 * PEAKS.flops_per_second, 4 * PEAKS.bytes_per_second, 4.0, "memory"),
    ],
)
def test_the_slower_of_arithmetic_and_memory_sets_the_floor(
    flops: float, bytes_moved: float, floor: float, bound: str
) -> None:
    found = roofline(CASE, flops, bytes_moved, H200)
    assert found is not None
    assert found.floor == pytest.approx(floor)
    assert found.bound == bound


def test_a_cpu_has_no_roofline() -> None:
    assert roofline(CASE, 1e9, 1e6, CPU) is None


def test_over_an_fp8_cache_the_floor_is_that_of_fp8_arithmetic() -> None:
    found = roofline(replace(CASE, kv_cache_dtype="fp8"), PEAKS.flops_per_second, 0.0, H200)
    assert found is not None
    assert found.floor == pytest.approx(0.5)


H20 = replace(H200, name="NVIDIA H20", sm_count=78)
A100 = replace(H200, name="NVIDIA A100-SXM4-80GB", capability=(8, 0), sm_count=108)


def test_where_the_peak_of_computing_is_unknown_memory_still_sets_a_floor() -> None:
    found = roofline(CASE, PEAKS.flops_per_second, PEAKS.bytes_per_second / 2, H20)
    assert found is not None
    assert found.floor == pytest.approx(0.5)
    assert found.bound is None
    assert found.fraction(1.0, "cold") == pytest.approx(0.5)
    assert found.fraction(1.0, "hot") is None


def test_what_computes_nothing_is_bound_by_memory_whatever_the_peak_of_computing() -> None:
    found = roofline(CASE, 0.0, PEAKS.bytes_per_second, H20)
    assert found is not None
    assert found.bound == "memory"


def test_a_gpu_without_fp8_arithmetic_has_its_own_floor_over_an_fp8_cache() -> None:
    fp8 = roofline(replace(CASE, kv_cache_dtype="fp8"), 1e15, 0.0, A100)
    assert fp8 == roofline(CASE, 1e15, 0.0, A100)
    assert fp8 is not None
    assert fp8.bound == "compute"


@pytest.fixture
def decode(tmp_path: Path) -> Series:
    """Bound by memory; its time is twice its floor."""
    case = attn("64q1kv4k", dtype="bf16")
    (draft,) = measured(tmp_path, {case: timed(case, 1e-3)}, H200)
    floor = draft.outcome.bytes / PEAKS.bytes_per_second
    return series_of(measured(tmp_path, {case: timed(case, 2 * floor)}, H200))[0]


def test_a_series_reaches_its_part_of_the_roofline(decode: Series) -> None:
    assert roofline_fraction(decode, H200) == pytest.approx(0.5)
    assert roofline_fraction(decode, CPU) is None


def in_cache(series: Series, state: CacheState) -> Series:
    outcome = replace(series.first.outcome, cache_state=state)
    return Series((replace(series.first, outcome=outcome),))


@pytest.mark.parametrize("state", ["hot", "mixed"])
def test_memory_is_no_limit_to_what_a_cache_holds(decode: Series, state: CacheState) -> None:
    warm = in_cache(decode, state)
    assert roofline_fraction(warm, H200) is None


def test_arithmetic_limits_a_hot_case_too(tmp_path: Path) -> None:
    case = attn("q8k", dtype="bf16")
    (series,) = series_of(measured(tmp_path, {case: timed(case, 1.0, cache_state="hot")}, H200))
    assert roofline_fraction(series, H200) is not None


def test_what_has_no_time_reaches_nothing(tmp_path: Path) -> None:
    (series,) = series_of(measured(tmp_path, {CASE: failed(Status.OOM, "30 GiB needed")}, H200))
    assert roofline_fraction(series, H200) is None


@pytest.mark.parametrize(
    ("fraction", "impossible"),
    [(None, False), (0.7, False), (1.0, False), (1 / 0.985, False), (1 / 0.975, True)],
)
def test_only_a_time_well_below_the_floor_is_impossible(
    fraction: float | None, impossible: bool
) -> None:
    assert is_impossible(fraction) is impossible


def only(folder: Path, machine: Machine, spec: str, dtype: Dtype, seconds: float) -> Series:
    case = attn(spec, dtype=dtype)
    return series_of(measured(folder, {case: timed(case, seconds)}, machine))[0]


REACHED = Sentinels(bytes_per_second=4e12, read_bytes_per_second=3e12, flops_per_second=700e12)


def test_of_what_was_reached_the_slower_of_copy_and_matmul_counts(tmp_path: Path) -> None:
    decode, prefill = (only(tmp_path, H200, spec, "bf16", 1.0) for spec in ("64q1kv4k", "q8k"))
    work = decode.first.outcome
    assert measured_fraction(decode, H200, REACHED) == pytest.approx(work.bytes / 4e12)
    work = prefill.first.outcome
    assert measured_fraction(prefill, H200, REACHED) == pytest.approx(work.flops / 700e12)


@pytest.mark.parametrize(
    ("machine", "dtype", "counts"),
    [
        (H200, "bf16", True),
        (H200, "fp16", True),
        (H200, "fp32", False),
        (CPU, "fp32", True),
        (CPU, "bf16", False),
    ],
)
def test_the_matmul_counts_for_the_dtypes_that_it_stands_for(
    tmp_path: Path, machine: Machine, dtype: Dtype, counts: bool
) -> None:
    prefill = only(tmp_path, machine, "q8k", dtype, 1.0)
    work = prefill.first.outcome
    expected = work.flops / 700e12 if counts else work.bytes / 4e12
    assert measured_fraction(prefill, machine, REACHED) == pytest.approx(expected)


def test_more_than_what_was_reached_is_possible_but_not_more_than_the_roofline(
    decode: Series,
) -> None:
    slow = replace(REACHED, bytes_per_second=1e12)
    found = measured_fraction(decode, H200, slow)
    assert found is not None
    assert found > 1
    assert not is_above_roofline(decode, H200, [slow])
    fraction, time = roofline_fraction(decode, H200), decode.time
    assert fraction is not None
    assert time is not None
    quicker = replace(decode.first, median=time * fraction / 1.03)
    assert is_above_roofline(Series((quicker,)), H200, [slow])


@pytest.mark.parametrize("state", ["cold", "mixed", "hot"])
@pytest.mark.parametrize(
    ("bytes_per_second", "above"), [(10.5e12, True), (41e9 * 10, True), (39e9 * 10, False)]
)
def test_a_cpu_is_held_against_ten_times_what_its_memory_reached(
    tmp_path: Path, bytes_per_second: float, above: bool, state: CacheState
) -> None:
    reached = [Sentinels(20e9, 15e9, 300e9), Sentinels(40e9, 15e9, 300e9)]
    decode = only(tmp_path, CPU, "q1kv16k", "fp32", 1.0)
    seconds = decode.first.outcome.bytes / bytes_per_second
    series = in_cache(Series((replace(decode.first, median=seconds),)), state)
    assert is_above_roofline(series, CPU, reached) is above
    assert not is_above_roofline(series, CPU, [])


@pytest.mark.parametrize(
    ("dtype", "flops_per_second", "above"),
    [("fp32", 950e9, True), ("fp32", 850e9, False), ("bf16", 950e9, False)],
)
def test_a_cpu_is_held_against_three_times_its_matmul_in_that_dtype(
    tmp_path: Path, dtype: Dtype, flops_per_second: float, above: bool
) -> None:
    prefill = only(tmp_path, CPU, "q8k", dtype, 1.0)
    seconds = prefill.first.outcome.flops / flops_per_second
    series = Series((replace(prefill.first, median=seconds),))
    assert is_above_roofline(series, CPU, [Sentinels(40e9, 30e9, 300e9)]) is above


def test_of_a_device_that_was_not_measured_no_part_is_known(decode: Series) -> None:
    assert measured_fraction(decode, H200, None) is None
    warm = in_cache(decode, "hot")
    assert measured_fraction(warm, H200, REACHED) is None
