"""What a layer between calls adds: times with and without one, beside each other."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from attnbench.cli import cli
from attnbench.db.models import MeasurementRow, MethodRow
from attnbench.db.store import Store
from attnbench.records import RunStatus
from attnbench.running.between import facts_for
from attnbench.specs.case import Value, content_hash
from attnbench.timing.method import LAYER_VERSION, WITH_W_UK, Method
from tests.stored_results import attn, mla, start, store_run, timed

BARE = Method("cudagraph")
COLD = replace(BARE, between="layer")
FLASH, XQA = (attn("q1kv1k", name, "bf16") for name in ("flash", "flashinfer"))
PREFILL = attn("q4k", "flash", "bf16")


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "cold.db")


def add_both(db: str) -> None:
    """A run of decodes in both ways, their rounds interleaved, and of a prefill back to back."""
    times = [(FLASH, BARE, 10), (FLASH, COLD, 12), (XQA, BARE, 10), (XQA, COLD, 20)]
    with Store.open(db) as store:
        run = start(store, label="both")
        for round_ in range(3):
            for at, (case, method, us) in enumerate([*times, (PREFILL, BARE, 200)]):
                (outcome,) = timed(case, us * 1e-6 * (1 + 0.001 * round_))
                store.add(run, case, method, round_, round_ * 5 + at, outcome)
        store.finish_run(run, RunStatus.FINISHED)


def attnbench(db: str, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--db", db])


def across(db: str, field: str, base: str = "both", head: str = "both") -> Result:
    return attnbench(db, "diff", "--base", base, "--head", head, "--across", field)


@pytest.mark.parametrize("field", ["between", "between=nothing:layer"])
def test_a_diff_says_what_cold_code_costs(db: str, field: str) -> None:
    add_both(db)
    found = across(db, field)
    assert found.exit_code == 1
    assert "across: between nothing -> layer\n" in found.stdout
    assert "attn on NVIDIA H200 (SM90); timer cudagraph, cache cold; 3 and 3" in found.stdout
    (slower, less_slow) = (row for row in found.stdout.splitlines() if row.startswith("slower"))
    assert slower.split()[2:6] == ["flashinfer", "10.0", "20.0", "+100.0"]
    assert less_slow.split()[2:6] == ["flash", "10.0", "12.0", "+20.0"]
    assert "rounds were interleaved and are compared pair by pair" in found.stdout
    assert "1 only in base: batch q4k\n" in found.stdout


def test_the_other_way_round_it_says_what_warm_code_hides(db: str) -> None:
    add_both(db)
    found = across(db, "between=layer:nothing")
    assert found.exit_code == 0
    assert "-50.0" in found.stdout


def test_runs_from_before_the_layer_are_compared_with_those_of_now(db: str) -> None:
    with Store.open(db) as store:
        for label, method, us in (("old", BARE, 10), ("new", COLD, 12)):
            times = [us * 1e-6] * 3
            store_run(store, {FLASH: timed(FLASH, *times)}, label=label, method=method)
    plain = attnbench(db, "diff", "--base", "old", "--head", "new")
    assert plain.exit_code == 3
    assert "between nothing -> layer (--across between compares them;" in plain.stderr
    assert "+20.0" in across(db, "between", "old", "new").stdout


def test_one_way_of_timing_leaves_nothing_to_compare(db: str) -> None:
    with Store.open(db) as store:
        store_run(store, {FLASH: timed(FLASH, 1e-5)}, label="both", method=COLD)
    found = across(db, "between")
    assert found.exit_code == 2
    assert "it is layer in all cases; name runs that differ in it" in found.stderr
    assert (
        "its side does not have 'nothing' but layer" in across(db, "between=nothing:layer").stderr
    )


def test_another_difference_of_the_method_still_parts_them(db: str) -> None:
    with Store.open(db) as store:
        for label, method in (("old", BARE), ("new", replace(COLD, samples=20))):
            store_run(store, {FLASH: timed(FLASH, 1e-5)}, label=label, method=method)
    found = across(db, "between", "old", "new")
    assert found.exit_code == 3
    assert "samples unset -> 20" in found.stderr


def test_a_kernel_that_no_graph_captured_counts_as_bare(db: str) -> None:
    resolved: dict[str, Value] = {"timer": "eager", "between": "nothing"}
    single = timed(FLASH, 1e-5, resolved=resolved, labels=("eager_fallback",))
    with Store.open(db) as store:
        store_run(store, {FLASH: single}, label="both", method=COLD)
    assert "it is nothing in all cases" in across(db, "between").stderr


def test_a_pivot_has_a_column_for_each_way(db: str) -> None:
    add_both(db)
    text = attnbench(db, "report", "--pivot", "between").stdout
    assert "timer cudagraph, cache cold; 3 rounds\n" in text
    rows = [line.split() for line in text.splitlines() if line.startswith("q")]
    assert rows == [
        ["q1kv1k", "flash", "10.0", "12.0"],
        ["q1kv1k", "flashinfer", "10.0", "20.0"],
        ["q4k", "flash", "200", "-"],
    ]
    assert text.count("latency, us") == 1


def test_a_table_says_why_its_decodes_stand_alone(db: str) -> None:
    add_both(db)
    text = " ".join(attnbench(db, "report").stdout.split())
    note = "between layer: a decoder layer's products run before each call, as in a server"
    bare, cold = text.split("cache cold, between layer; ")
    assert (bare.count(note), cold.count(note)) == (0, 1)


def old_facts() -> dict[str, Value]:
    """Those of a row whose time is what the call added to the layer."""
    return {n: v for n, v in COLD.as_facts().items() if n != "layer_version"}


def test_what_a_call_added_to_a_layer_is_not_compared_with_its_own_time(db: str) -> None:
    with Store.open(db) as store:
        for label in ("old", "new"):
            store_run(store, {FLASH: timed(FLASH, 1e-5)}, label=label, method=COLD)
        with store.writing() as session:
            facts = old_facts()
            key = content_hash(facts)
            row = MethodRow(key=key, timer="cudagraph", cache="cold", facts=facts)
            session.add(row)
            session.flush()
            session.execute(
                update(MeasurementRow).where(MeasurementRow.run == 1).values(method_id=row.id)
            )
    found = attnbench(db, "diff", "--base", "old", "--head", "new")
    assert found.exit_code == 3
    assert "not comparable, layer method 1 -> 2: " in found.stderr
    text = " ".join(attnbench(db, "report", "--run", "old").stdout.split())
    assert "between layer, layer method 1 (now 2 or 3);" in text
    assert "layer method" not in attnbench(db, "report", "--run", "new").stdout


def test_rows_without_w_uk_in_the_layer_are_not_compared_with_those_that_have_it(db: str) -> None:
    case = replace(mla("8q1kv1k"), scope="kernel")
    with Store.open(db) as store:
        for label, version in (("old", LAYER_VERSION), ("new", WITH_W_UK)):
            method = replace(COLD, layer_version=version)
            store_run(store, {case: timed(case, 1e-5)}, label=label, method=method)
    found = attnbench(db, "diff", "--base", "old", "--head", "new")
    assert found.exit_code == 3
    assert "not comparable, layer method 2 -> 3: " in found.stderr
    assert "layer method 3" in " ".join(attnbench(db, "report", "--run", "new").stdout.split())


@pytest.mark.parametrize("spec", ["8q1kv1k", "q512"])
def test_an_old_plan_finds_the_outcomes_that_it_had(spec: str) -> None:
    auto = replace(BARE, between="auto").as_facts()
    del auto["layer_version"]
    expected = BARE.as_facts() if spec == "q512" else old_facts()
    assert facts_for(auto, attn(spec, "flash", "bf16")) == expected
