"""The roofline: the least time that the hardware allows, and how near a time is to it."""

from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.roofline import is_impossible, roofline, roofline_fraction
from attnbench.analysis.series import Series, series_of
from attnbench.provenance.peaks import Peaks
from attnbench.records import Status
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


@pytest.fixture
def decode(tmp_path: Path) -> Series:
    """Bound by memory; its time is twice its floor."""
    case = attn("64q1kv4k", dtype="bf16")
    (draft,) = measured(tmp_path, {case: timed(case, 1e-3)}, H200)
    floor = draft.bytes / PEAKS.bytes_per_second
    return series_of(measured(tmp_path, {case: timed(case, 2 * floor)}, H200))[0]


def test_a_series_reaches_its_part_of_the_roofline(decode: Series) -> None:
    assert roofline_fraction(decode, H200) == pytest.approx(0.5)
    assert roofline_fraction(decode, CPU) is None


@pytest.mark.parametrize("state", ["hot", "mixed"])
def test_memory_is_no_limit_to_what_a_cache_holds(decode: Series, state: str) -> None:
    warm = Series(tuple(replace(each, cache_state=state) for each in decode.rounds))
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
