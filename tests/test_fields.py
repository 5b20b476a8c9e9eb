"""Two cases that differ in one field, one of them at its default: every reader sees both values."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from attnbench.analysis.across import Across, find_across
from attnbench.analysis.contrast import contrasts
from attnbench.analysis.estimate import EXACT
from attnbench.analysis.fields import Fields
from attnbench.analysis.lint import lint
from attnbench.analysis.series import Series, series_of
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.records import Measurement, Outcome, Run, Status
from attnbench.reporting.export import record
from attnbench.reporting.pivot import pivot_tables
from attnbench.reporting.progress import outcome_line
from attnbench.reporting.tables import results_tables
from attnbench.results.cohort import cohorts
from attnbench.results.command_line import case_command
from attnbench.results.where import matching, parse_condition
from attnbench.specs.case import Case, Value, value_text
from attnbench.studies.analysis import ContrastAnalysis
from attnbench.studies.answers.contrast import answer
from attnbench.timing.finished import Finished
from tests.conftest import small_case
from tests.stored_results import CPU, ON_CPU, attn, store_run

DEFAULTS: dict[str, Value] = {
    field.name: field.default
    for field in fields(Case)
    if field.name != "knobs" and field.default not in (MISSING, None)
}


TYPES = get_type_hints(Case)


def other_value(field: str) -> Value:
    """One that the field may have beside its default."""
    values: tuple[Value, ...] = (False, True) if TYPES[field] is bool else get_args(TYPES[field])
    return next(value for value in values if value != DEFAULTS[field])


@dataclass(frozen=True)
class Stored:
    """A run of two cases; `other` differs from `usual` in the field alone."""

    field: str
    usual: Case
    other: Case
    measurements: Sequence[Measurement]
    run: Run

    @property
    def series(self) -> list[Series]:
        return series_of(self.measurements)

    @property
    def values(self) -> list[Value]:
        return [getattr(case, self.field) for case in (self.usual, self.other)]

    @property
    def texts(self) -> list[str]:
        return [value_text(value, "") for value in self.values]


@pytest.fixture(params=DEFAULTS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    field = request.param
    usual = small_case()
    other = replace(usual, **{field: other_value(field)})  # type: ignore[arg-type]
    results = {usual: rounds_of(1e-3), other: rounds_of(2e-3)}
    with Store.open(tmp_path / "fields.db") as store:
        number = store_run(store, results)
        return Stored(field, usual, other, store.measurements([number]), store.run(number))


def rounds_of(seconds: float) -> list[Outcome]:
    return [
        Outcome(Status.OK, samples=(seconds * factor,), cache_state="cold", labels=("thermal",))
        for factor in (1, 1.001, 1.002)
    ]


def in_diff_across(stored: Stored) -> bool:
    usual, other = ([s] for s in stored.series)
    return find_across(stored.field, usual, other) == Across(stored.field, *stored.values)


def in_a_studys_contrast(stored: Stored) -> bool:
    asked = ContrastAnalysis(stored.field, ((stored.texts[0], stored.texts[1]),))
    (line, *_) = answer(stored.series, asked, lambda _: EXACT).lines
    return line.startswith(f"{stored.texts[1]} against {stored.texts[0]}: +100.0 %")


def in_the_contrasts_below_a_table(stored: Stored) -> bool:
    found = contrasts(stored.series, stored.field, stored.values[0])
    return [list(values) for values in found] == [stored.values]


def in_the_table(stored: Stored) -> bool:
    text = results_tables(cohorts(stored.measurements, {stored.run.number: stored.run}))
    return all(str(value) in text for value in stored.values)


def in_the_pivot_table(stored: Stored) -> bool:
    listed = cohorts(stored.measurements, {stored.run.number: stored.run})
    text = pivot_tables([listed], stored.field, "latency")
    return all(str(value) in text for value in stored.values)


def in_where(stored: Stored) -> bool:
    found = [
        matching(
            stored.measurements,
            {stored.run.number: stored.run},
            [parse_condition(f"{stored.field}={text}")],
        )
        for text in stored.texts
    ]
    return [{each.case for each in kept} for kept in found] == [{stored.usual}, {stored.other}]


def in_the_export(stored: Stored) -> bool:
    found = {each.case: record(each, stored.run)[stored.field] for each in stored.measurements}
    return [found[stored.usual], found[stored.other]] == stored.values


def in_the_command_that_measures_again(stored: Stored) -> bool:
    method, plan = ON_CPU.as_facts(), {"rounds": 3, "seed": 0}
    usual = case_command(stored.usual, method, plan)
    try:
        other = case_command(stored.other, method, plan)
    except UsageError as error:  # the family's command has no such option
        return stored.field in str(error)
    return f"--{stored.field.replace('_', '-')}" in {*other} - {*usual}


def in_the_lines_of_a_run(stored: Stored) -> bool:
    def line(case: Case) -> str:
        return outcome_line(Finished(case, ON_CPU, 0, 0, rounds_of(1e-3)[0]))

    said = f" {stored.field}={stored.values[1]}"
    return line(stored.other).replace(said, "", 1) == line(stored.usual) != line(stored.other)


def test_a_spread_of_any_length_takes_little_room() -> None:
    case = attn("q512")
    wild = Outcome(Status.OK, samples=(1e-6, 2e-6, 4e-3, 5e-3, 2e-2))
    assert outcome_line(Finished(case, ON_CPU, 0, 0, wild)).endswith(" ms >100 %")


def in_the_doubts(stored: Stored) -> bool:
    found = lint(stored.series, CPU)["thermal"]
    return all(f"{stored.field} {value}" in found[at] for at, value in enumerate(stored.values))


READERS = (
    in_diff_across,
    in_a_studys_contrast,
    in_the_contrasts_below_a_table,
    in_the_table,
    in_the_pivot_table,
    in_where,
    in_the_export,
    in_the_command_that_measures_again,
    in_the_lines_of_a_run,
    in_the_doubts,
)


@pytest.mark.parametrize("seen", READERS, ids=lambda reader: reader.__name__)
def test_a_default_is_seen_beside_another_value(
    stored: Stored, seen: Callable[[Stored], bool]
) -> None:
    assert seen(stored)


def test_a_field_that_no_rows_differ_in_has_no_column(stored: Stored) -> None:
    assert stored.field in Fields.of([stored.usual, stored.other]).varying
    assert Fields.of([stored.usual]).varying == Fields.of([stored.usual] * 2).varying == ()


def test_what_is_hashed_leaves_defaults_out_and_the_fields_hold_them() -> None:
    case = small_case()
    assert DEFAULTS.items() <= case.fields().items()
    assert not DEFAULTS.keys() & case.canonical().keys()
    assert case.fields()["window"] is None
    assert case.canonical().items() <= case.fields().items()


def test_versions_of_a_scope_are_told_only_where_two_meet() -> None:
    new = small_case("mla", "torch-mha", scope="layer")
    old = replace(new, scope_version=1)
    assert "scope_version" not in Fields.of([new, new]).constant
    both = Fields.of([old, new])
    assert [both.describe(case) for case in (old, new)] == [
        "torch-mha 3q1kv20_2q8, scope_version 1",
        "torch-mha 3q1kv20_2q8, scope_version 2",
    ]


def test_dims_and_knobs_are_fields() -> None:
    case = small_case(knobs=(("num_splits", 4),))
    found = case.fields()
    assert (found["head_dim"], found["num_splits"]) == (case.shape.head_dim, 4)  # type: ignore[union-attr]
    assert "kv_lora_rank" not in found
