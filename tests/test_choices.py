"""What a sweep over thresholds or splits comes to, on stored rounds."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from attnbench.analysis.choices import best_choice, by_knob
from attnbench.analysis.series import series_of
from attnbench.records import Measurement
from attnbench.reporting.choices import choice_lines
from attnbench.specs.case import Value
from tests.stored_results import measured, mla, timed

SPEC = "8q4kv1k"
Times = Mapping[Value | None, tuple[float, ...]]
US = 1e-6


def swept(folder: Path, knob: str, times: Times, spec: str = SPEC) -> list[Measurement]:
    """Rounds, in microseconds, of one backend under each value; None without the knob."""
    cases = {
        mla(spec, "x", **({} if value is None else {knob: value})): timed(
            mla(spec, "x"), *(t * US for t in each)
        )
        for value, each in times.items()
    }
    return measured(folder, cases)


def lines(measurements: list[Measurement]) -> list[str]:
    return choice_lines(series_of(measurements))


@pytest.mark.parametrize(
    ("times", "line"),
    [
        (
            {1: (90.0, 90.2, 90.1), 4: (40.0, 40.1, 40.0), 8: (41.9, 42.0, 42.1)},
            "best splits 4 (40.0 us); 8 takes 1.05x, 1 takes 2.25x",
        ),
        (
            {1: (90.0, 90.2, 90.1), 4: (40.0, 40.1, 40.0), 8: (40.1, 40.0, 40.2)},
            "best splits 4 (40.0 us), tied with 8; 1 takes 2.25x",
        ),
        (
            {1: (90.0, 90.2, 90.1), 4: (40.0, 40.1, 40.0), None: (44.0, 44.1, 44.0)},
            "best splits 4 (40.0 us); 1 takes 2.25x; auto's regret +10.0 % (+9.8 to +10.2 %)",
        ),
        (
            {1: (90.0, 90.2, 90.1), None: (40.0, 40.1, 40.0)},
            "best splits auto (40.0 us); 1 takes 2.25x; auto's regret 0 %",
        ),
        # One round each: told apart by the intervals of their medians.
        ({1: (90.0,), 4: (40.0,)}, "best splits 4 (40.0 us); 1 takes 2.25x"),
        ({1: (40.2,), 4: (40.0,)}, "best splits 4 (40.0 us), tied with 1"),
    ],
)
def test_a_sweep_ends_in_the_best_value_its_ties_and_autos_regret(
    tmp_path: Path, times: Times, line: str
) -> None:
    assert lines(swept(tmp_path, "num_splits", times)) == [f"x {SPEC}: {line}"]


def test_a_difference_that_may_be_chance_is_a_tie(tmp_path: Path) -> None:
    times: Times = {1: (40.0, 44.0, 36.0), 4: (43.0, 39.0, 41.0)}
    (line,) = lines(swept(tmp_path, "num_splits", times))
    assert line.endswith("tied with 4")


def test_thresholds_that_split_a_batch_alike_are_tied_whatever_they_took(tmp_path: Path) -> None:
    times: Times = {1: (40.0, 40.1, 40.0), 4: (45.0, 45.1, 45.0)}
    (line,) = lines(swept(tmp_path, "threshold", times))
    assert line == f"x {SPEC}: best threshold 1 (40.0 us), tied with 4"


def test_one_value_alone_is_no_sweep(tmp_path: Path) -> None:
    for value in (4, None):
        assert lines(swept(tmp_path, "num_splits", {value: (40.0, 40.1)})) == []


def test_each_batch_and_backend_has_a_line_of_its_own(tmp_path: Path) -> None:
    cases = {
        mla(spec, backend, num_splits=splits): timed(mla(spec), splits * US, splits * US)
        for spec in ("2q1kv1k", "4q1kv1k")
        for backend in ("x", "y")
        for splits in (2, 4)
    }
    found = lines(measured(tmp_path, cases))
    assert [line.partition(":")[0] for line in found] == [
        f"{backend} {spec}" for spec in ("2q1kv1k", "4q1kv1k") for backend in ("x", "y")
    ]


def test_a_value_without_a_time_is_left_out(tmp_path: Path) -> None:
    (group,) = by_knob(
        series_of(swept(tmp_path, "num_splits", {2: (1.0,), 4: (2.0,)})), "num_splits"
    )
    assert set(group) == {2, 4}
    assert best_choice({2: group[2]}) is None
