"""Quantities as text: three significant digits, one unit per column. All units are chosen here."""

from collections.abc import Sequence
from statistics import median

MISSING = "-"  # shown in place of a missing value

_SECONDS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_FLOP_RATES = (("TFLOP/s", 1e12), ("GFLOP/s", 1e9))
_BYTE_RATES = (("GB/s", 1e9),)
_SIZES = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0))
_CLOCKS = (("GHz", 1e9),)
_CYCLES = (("Mcycles", 1e6), ("kcycles", 1e3))
_UNIT_SIZES = dict((*_SECONDS, *_FLOP_RATES, *_BYTE_RATES, *_SIZES, *_CLOCKS, *_CYCLES))

MOST_RATIO = 1000.0  # the largest that a change in percent is written out for

Column = tuple[str, list[str]]


def seconds_column(values: Sequence[float | None]) -> Column:
    """The unit (s, ms, us or ns) in which the median is 1 or more, and a text for each value."""
    return _column(values, _SECONDS)


def flop_rate_column(values: Sequence[float | None]) -> Column:
    """FLOP/s as TFLOP/s, or GFLOP/s if the median is below 1 TFLOP/s."""
    return _column(values, _FLOP_RATES)


def byte_rate_column(values: Sequence[float | None]) -> Column:
    """Byte/s as GB/s of 1e9 bytes."""
    return _column(values, _BYTE_RATES)


def bytes_column(values: Sequence[float | None]) -> Column:
    """Bytes as GiB, MiB, KiB or B."""
    return _column(values, _SIZES)


def clock_column(values: Sequence[float | None]) -> Column:
    """Hz as GHz."""
    return _column(values, _CLOCKS)


def cycles_column(values: Sequence[float | None]) -> Column:
    """Clock cycles as Mcycles or kcycles."""
    return _column(values, _CYCLES)


def percent_column(fractions: Sequence[float | None]) -> Column:
    """Fractions as percentages with one decimal, so they align."""
    texts = [MISSING if f is None else f"{100 * f:.1f}" for f in fractions]
    return "%", texts


def unit_size(unit: str) -> float:
    """The size of a column's unit in seconds, FLOP/s, byte/s, bytes, Hz or cycles."""
    return _UNIT_SIZES[unit]


def seconds_text(value: float) -> str:
    """One time with its unit: "2.30 us"."""
    return _text(seconds_column([value]))


def bytes_text(value: float) -> str:
    """One size with its unit: "1.50 GiB"."""
    return _text(bytes_column([value]))


def clock_text(value: float) -> str:
    """One clock rate with its unit: "1.98 GHz"."""
    return _text(clock_column([value]))


def counted(count: int, thing: str, ending: str = "s") -> str:
    """A number of things: "1 case", "3 cases"."""
    return f"{count} {thing}{ending * (count != 1)}"


def minutes_text(seconds: float) -> str:
    """A forecast, coarse on purpose: "90 s", "5 min"."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def three_digits(value: float) -> str:
    """Three significant digits, never an exponent: 12.3, 0.00123, 1230."""
    rounded = f"{value:.2e}"
    decimals = 2 - int(rounded.partition("e")[2])
    return f"{float(rounded):.{max(decimals, 0)}f}"


def percent(fraction: float) -> str:
    """A fraction as a percentage: 0.005 is "0.5 %"."""
    in_percent = 100 * fraction
    return f"{in_percent:.0f} %" if abs(in_percent) >= 999.5 else f"{in_percent:.3g} %"


def change_in_percent(ratio: float) -> str:
    """A ratio as a change in percent, without the sign %: 1.234 is "+23.4".

    Over a thousandfold it says no more: the ends of an interval may have a hundred digits.
    """
    if ratio > MOST_RATIO:
        return f">+{100 * (MOST_RATIO - 1):.0f}"
    return f"{100 * (ratio - 1):+z.1f}"


def _text(column: Column) -> str:
    unit, (text,) = column
    return f"{text} {unit}"


def _column(values: Sequence[float | None], units: Sequence[tuple[str, float]]) -> Column:
    """In the largest unit that the median reaches, else the smallest; units fall in size."""
    known = [abs(value) for value in values if value is not None]
    # As it is shown: 999.9 us is 1.00 ms.
    typical = float(f"{median(known):.2e}") if known else 0.0
    unit, size = next((each for each in units if typical >= each[1]), units[-1])
    return unit, [MISSING if value is None else three_digits(value / size) for value in values]
