"""Units: three significant digits, one unit a column."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.units import (
    Column,
    byte_rate_column,
    bytes_column,
    bytes_text,
    change_in_percent,
    clock_text,
    counted,
    flop_rate_column,
    minutes_text,
    percent,
    percent_column,
    seconds_column,
    seconds_text,
    three_digits,
    unit_size,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00"),
        (12.345, "12.3"),
        (123.45, "123"),
        (1234.5, "1230"),
        (9.996, "10.0"),
        (0.09996, "0.100"),
        (0.00123456, "0.00123"),
        (0.0, "0.00"),
        (-2.5, "-2.50"),
    ],
)
def test_three_significant_digits_without_an_exponent(value: float, text: str) -> None:
    assert three_digits(value) == text


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_three_digits_are_within_half_of_the_third(value: float) -> None:
    assert float(three_digits(value)) == pytest.approx(value, rel=0.005001)


@pytest.mark.parametrize(
    ("values", "unit", "texts"),
    [
        ([2.9e-6, 13.4e-6, 259e-6], "us", ["2.90", "13.4", "259"]),
        ([800e-9, 900e-9, 5e-6], "ns", ["800", "900", "5000"]),
        ([1e-3, 12e-3], "ms", ["1.00", "12.0"]),
        ([2.0], "s", ["2.00"]),
        ([999.9e-6], "ms", ["1.00"]),
        ([999.4e-6], "us", ["999"]),
        ([90e-6, None, 1.2e-3, 1.4e-3], "ms", ["0.0900", "-", "1.20", "1.40"]),
        ([None], "ns", ["-"]),
        ([], "ns", []),
    ],
)
def test_a_column_of_times_has_the_unit_of_its_median(
    values: list[float | None], unit: str, texts: list[str]
) -> None:
    assert seconds_column(values) == (unit, texts)


@pytest.mark.parametrize(
    ("values", "unit", "texts"),
    [
        ([644e12, 1.2e12], "TFLOP/s", ["644", "1.20"]),
        ([85e9, 900e9, None], "GFLOP/s", ["85.0", "900", "-"]),
    ],
)
def test_flop_rates_are_tera_or_giga(
    values: list[float | None], unit: str, texts: list[str]
) -> None:
    assert flop_rate_column(values) == (unit, texts)


def test_byte_rates_are_always_in_gigabytes() -> None:
    assert byte_rate_column([4.25e12, 2e8]) == ("GB/s", ["4250", "0.200"])


def test_bytes_are_binary() -> None:
    assert bytes_column([3 * 2**20, None]) == ("MiB", ["3.00", "-"])
    assert bytes_column([12.0]) == ("B", ["12.0"])
    assert bytes_column([1536.0]) == ("KiB", ["1.50"])


def test_percentages_line_up_with_one_decimal() -> None:
    assert percent_column([0.712, 1.0, None, 0.0004]) == ("%", ["71.2", "100.0", "-", "0.0"])


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.01, "1 %"),
        (0.005, "0.5 %"),
        (0.1, "10 %"),
        (9.994, "999 %"),
        (9.996, "1000 %"),
        (-3970.0, "-397000 %"),
    ],
)
def test_a_fraction_alone_shows_its_unit(fraction: float, text: str) -> None:
    assert percent(fraction) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.234, "+23.4"),
        (0.5, "-50.0"),
        (1.0, "+0.0"),
        (0.99999, "+0.0"),
        (1000.0, "+99900.0"),
        (5e30, ">+99900"),
        (float("inf"), ">+99900"),
    ],
)
def test_a_ratio_is_told_as_a_change(ratio: float, text: str) -> None:
    assert change_in_percent(ratio) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (seconds_text(2.3e-6), "2.30 us"),
        (bytes_text(1.5 * 2**30), "1.50 GiB"),
        (clock_text(1.98e9), "1.98 GHz"),
        (clock_text(345e6), "0.345 GHz"),
        (minutes_text(119), "119 s"),
        (minutes_text(120), "2 min"),
        (minutes_text(300), "5 min"),
        (counted(0, "case"), "0 cases"),
        (counted(1, "case"), "1 case"),
        (counted(2, "batch", "es"), "2 batches"),
    ],
)
def test_one_quantity_with_its_unit(text: str, shown: str) -> None:
    assert text == shown


@pytest.mark.parametrize("column", [seconds_column, flop_rate_column, byte_rate_column])
@pytest.mark.parametrize("value", [3e-5, 4e10, 5e13])
def test_a_units_size_gives_the_value_back(column: Callable[..., Column], value: float) -> None:
    unit, (text,) = column([value])
    assert float(text) * unit_size(unit) == pytest.approx(value, rel=0.005)
