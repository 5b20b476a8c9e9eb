"""`attnbench diff`, from two stored runs to a verdict and an exit status."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from attnbench.db.store import Store
from attnbench.provenance.environment import Component
from attnbench.provenance.machine import Machine
from attnbench.records import RunStatus, Status
from attnbench.timing.method import Method
from tests.stored_diff import CASE, CASES, SIDES, add, diff, scaled, text_of
from tests.stored_results import (
    CPU,
    ENVIRONMENT,
    H200,
    ON_CPU,
    SOURCE,
    attn,
    cache_write,
    failed,
    store_run,
    timed,
)


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "diff.db")


def cells_of(found: Result) -> Mapping[str, str]:
    """The verdict on each case by its spec."""
    cells = json.loads(found.stdout)["cells"]
    return {cell["case"]["batch"]: cell["verdict"] for cell in cells}


SAME = """\
base: run 1 "base", trunk@aaaaaaaaaaaa, <when>
head: run 2 "head", trunk@aaaaaaaaaaaa, <when>
source, software and machine are the same on both sides
noise: a session moves one case by 0.7 % plus 87 % of its rounds' spread (sd on
  4 degrees of freedom), all cases together by 0.2 %; from attnbench's own table
  of CPU

attn on Intel Xeon, 2 cores; timer cpu, cache cold; 3 and 3 rounds
backend sdpa, dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

                  base  head  change  95 % interval  finds
verdict  spec       ms    ms       %              %      %
-------  -------  ----  ----  ------  -------------  -----
same     q512     1.00  1.00    +0.0   -2.7 to +2.7   11.7
same     8q1kv1k  2.00  2.00    +0.0   -2.7 to +2.7   11.7
same     q1k      3.00  3.00    +0.0   -2.7 to +2.7   11.7

3 same; a change within 5 % does not matter
geometric mean of the 3 cases with a time on both sides: +0.0 %
finds: the smallest change that would have been found four times in five
"""


def test_the_same_data_twice_is_no_change(db: str) -> None:
    for label in ("base", "head"):
        add(db, label, scaled([1, 2, 3]))
    found = diff(db, *SIDES)
    assert found.exit_code == 0
    assert text_of(found) == SAME


@pytest.mark.parametrize(
    ("options", "base", "head"),
    [
        ([], 3, 4),
        (["--base", "1"], 1, 4),
        (["--base", "previous", "--head", "1"], 3, 1),
        (["--across", "backend=sdpa:naive"], 4, 4),
        (["--head", "1", "--across", "backend=sdpa:naive"], 1, 1),
    ],
)
def test_without_a_side_the_newest_runs_are_compared(
    db: str, options: Sequence[str], base: int, head: int
) -> None:
    cases = attn("q512"), attn("q512", "naive")
    for label in ("one", "two", "three", "four"):
        add(db, label, scaled([1, 1], cases))
    sides = re.findall(r"^(base|head): run (\d)", diff(db, *options).stdout, re.MULTILINE)
    assert sides == [("base", f"{base}"), ("head", f"{head}")]


def test_a_head_that_is_not_the_latest_run_needs_a_base(db: str) -> None:
    add(db, "one", scaled([1, 2, 3]))
    found = diff(db, "--head", "one")
    assert found.exit_code == 2
    assert "--head one needs --base, the runs to compare with, e.g. --base main" in found.stderr


SLOWER = """\
base: run 1 "base", trunk@aaaaaaaaaaaa, <when>
head: run 2 "head", trunk@aaaaaaaaaaaa, <when>
source, software and machine are the same on both sides
noise: a session moves one case by 0.7 % plus 87 % of its rounds' spread (sd on
  4 degrees of freedom), all cases together by 0.2 %; from attnbench's own table
  of CPU

attn on Intel Xeon, 2 cores; timer cpu, cache cold; 3 and 3 rounds
backend sdpa, dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

                  base   head  change   95 % interval  finds
verdict  spec       ms     ms       %               %      %
-------  -------  ----  -----  ------  --------------  -----
slower   8q1kv1k  1.00   1.30   +30.0  +26.1 to +34.1      -
faster   q1k      1.00  0.700   -30.0  -32.1 to -27.8      -
same     q512     1.00   1.00    +0.0    -2.7 to +2.7    9.7

1 slower, 1 faster, 1 same; a change within 5 % does not matter
geometric mean of the 3 cases with a time on both sides: -3.1 %
finds: the smallest change that would have been found four times in five
"""


def test_what_got_slower_stands_first_and_ends_in_status_1(db: str) -> None:
    add(db, "base", scaled([1, 1, 1]))
    add(db, "head", scaled([1, 1.3, 0.7]))
    found = diff(db, *SIDES)
    assert found.exit_code == 1
    assert text_of(found) == SLOWER


FAILURES = """\
base: run 1 "base", trunk@aaaaaaaaaaaa, <when>
head: run 2 "head", trunk@aaaaaaaaaaaa, <when>
source, software and machine are the same on both sides
noise: a session moves one case by 0.7 % plus 87 % of its rounds' spread (sd on
  4 degrees of freedom), all cases together by 0.2 %; from attnbench's own table
  of CPU

attn on Intel Xeon, 2 cores; timer cpu, cache cold; 3 and 3 rounds
backend sdpa, dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

                    base  head  change  95 % interval  finds
verdict    spec       ms    ms       %              %      %
---------  -------  ----  ----  ------  -------------  -----
now fails  q512     1.00  1.00       -              -      -
now runs   8q1kv1k     -  1.00       -              -      -
same       q1k      1.00  1.00    +0.0   -2.7 to +2.7    9.7

1 now fails, 1 now runs, 1 same, 2 ran on neither side; a change within 5 % does
  not matter
geometric mean of 1 case with a time on both sides: +0.0 %
finds: the smallest change that would have been found four times in five

now fails: crashed: sdpa q512: the worker died with signal 9
now runs: crashed: sdpa 8q1kv1k: the worker died with signal 9
ran on neither side: refused: flash (2 cases): needs an NVIDIA GPU
"""


def test_failures_are_told_and_a_new_one_ends_in_status_1(db: str) -> None:
    crash = failed(Status.CRASHED, "the worker died with signal 9")
    needs = failed(Status.REFUSED, "needs an NVIDIA GPU")
    flash = {attn(spec, "flash"): needs for spec in ("q512", "q1k")}
    times = scaled([1, 1, 1])
    add(db, "base", {**times, CASES[1]: crash, **flash})
    add(db, "head", {**times, CASES[0]: [*times[CASES[0]][:2], *crash], **flash})
    found = diff(db, *SIDES)
    assert found.exit_code == 1
    assert text_of(found) == FAILURES


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [(2, 2, "unclear"), (2, 0, "now fails"), (0, 2, "now runs"), (0, 0, "ran on neither side")],
)
def test_a_case_with_failed_rounds_on_both_sides_is_judged_by_those_with_a_time(
    db: str, base: int, head: int, verdict: str
) -> None:
    times = scaled([1, 1, 1])
    for label, kept in (("base", base), ("head", head)):
        add(db, label, {**times, CASES[0]: [*times[CASES[0]][:kept], *failed(Status.TIMEOUT, "")]})
    cells = cells_of(diff(db, *SIDES, "--format", "json"))
    assert cells == {"q512": verdict, "8q1kv1k": "same", "q1k": "same"}


def test_a_case_that_is_incorrect_in_one_round_of_three_fails(db: str) -> None:
    times = scaled([1, 1, 1])
    wrong = {case: [*times[case][:2], *failed(Status.INCORRECT, "off")] for case in CASES}
    add(db, "base", {**times, CASES[1]: wrong[CASES[1]]})
    add(db, "head", {**times, CASES[0]: wrong[CASES[0]], CASES[1]: wrong[CASES[1]]})
    found = diff(db, *SIDES, "--format", "json")
    assert found.exit_code == 1
    assert cells_of(found) == {"q512": "now fails", "8q1kv1k": "ran on neither side", "q1k": "same"}
    assert "now fails: incorrect in round 3, so no round counts: sdpa q512: off" in " ".join(
        diff(db, *SIDES).stdout.split()
    )


LEFTOVERS = """\
base: run 1 "base", trunk@aaaaaaaaaaaa, <when>
head: run 2 "head", trunk@aaaaaaaaaaaa, <when>
source, software and machine are the same on both sides
noise: a session moves one case by 0.7 % plus 87 % of its rounds' spread (sd on
  4 degrees of freedom), all cases together by 0.2 %; from attnbench's own table
  of CPU

attn on Intel Xeon, 2 cores; timer cpu, cache cold; 1 and 1 rounds
backend sdpa, dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

               base  head  change    95 % interval
verdict  spec    ms    ms       %                %
-------  ----  ----  ----  ------  ---------------
unclear  q512  1.00  1.00    +0.0  -72.6 to +264.8

1 unclear; a change within 5 % does not matter
geometric mean of 1 case with a time on both sides: +0.0 %
one round shows no spread: measure 3 rounds on each side:
<command> --label base
<command> --label head

not comparable, cache cold -> mixed: sdpa 8q1kv1k
1 only in base: batch q1k
1 only in head: backend naive
"""


def test_what_has_no_partner_is_listed_with_the_field_that_differs(db: str) -> None:
    first, second, third = CASES
    naive = attn("q512", "naive")
    mixed = timed(second, 1e-3, cache_state="mixed")
    add(
        db, "base", {first: timed(first, 1e-3), second: timed(second, 1e-3), third: timed(third, 1)}
    )
    add(db, "head", {first: timed(first, 1e-3), second: mixed, naive: timed(naive, 1)})
    text = text_of(diff(db, *SIDES))
    assert re.sub(r"^attnbench attn .* --label", "<command> --label", text, flags=re.M) == LEFTOVERS


DIFFERENCES = """\
base: run 1 "base", trunk@aaaaaaaaaaaa, <when>
head: run 2 "head", pr@bbbbbbbbbbbb with uncommitted changes, <when>, interrupted
differs: source trunk@aaaaaaaaaaaa -> pr@bbbbbbbbbbbb with uncommitted changes
differs: torch 2.11.0 -> 2.13.0
differs: another card of the same model, which may differ: GPU-1 -> GPU-2
differs: driver unknown -> 590.1
noise: a session moves one case by 0.1 % (sd on 2 degrees of freedom), all cases
  together by 0.13 %; another card of the model by 1.1 %; from attnbench's own
  table of NVIDIA H200
"""


def test_source_software_and_machine_come_before_any_verdict(db: str) -> None:
    head_source = replace(SOURCE, branch="pr", commit="b" * 40, dirty="12ab")
    head_environment = replace(ENVIRONMENT, components={"torch": Component("2.13.0")})
    head_machine = replace(H200, gpu_uuid="GPU-2", driver="590.1")
    with Store.open(db) as store:
        store_run(store, scaled([1, 1, 1]), label="base", machine=H200)
        store_run(
            store,
            scaled([1, 1, 1]),
            label="head",
            machine=head_machine,
            environment=head_environment,
            source=head_source,
            status=RunStatus.INTERRUPTED,
        )
    assert text_of(diff(db, *SIDES)).partition("\n\n")[0] == DIFFERENCES.rstrip()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"dirty": "34cd"}, "differs: uncommitted changes 12ab -> 34cd"),
        ({"repository": "fork"}, "differs: repository repo -> fork"),
        ({"commit": None}, "differs: source trunk@aaaaaaaaaaaa with uncommitted changes -> no git"),
    ],
)
def test_sources_of_one_name_are_told_apart(
    db: str, changes: dict[str, str | None], line: str
) -> None:
    source = replace(SOURCE, dirty="12ab")
    with Store.open(db) as store:
        store_run(store, scaled([1, 1, 1]), label="base", source=source)
        store_run(store, scaled([1, 1, 1]), label="head", source=replace(source, **changes))  # type: ignore[arg-type]
    assert any(each.startswith(line) for each in diff(db, *SIDES).stdout.splitlines())


def test_what_moves_together_is_suspected_of_clocks(db: str) -> None:
    cases = [attn(f"q{n}k") for n in range(1, 12)]
    add(db, "base", scaled([1] * 11, cases))
    add(db, "head", scaled([1.2] * 11, cases))
    found = diff(db, *SIDES)
    assert (
        "shift of the whole device: +20.0 % (95 % interval +19.0 to +21.0), by the 11\n"
        "  cases whose code is the same: suspect clocks and driver before the code\n"
    ) in found.stdout
    assert (found.exit_code, "slower" in found.stdout) == (0, False)


def test_each_family_is_a_table_of_its_own(db: str) -> None:
    writes = cache_write(64, "NHD")
    for label in ("base", "head"):
        add(db, label, {**scaled([1, 1, 1]), writes: timed(writes, 5e-6)})
    text = diff(db, *SIDES).stdout
    assert "attn on Intel Xeon, 2 cores; timer cpu, cache cold; 3 and 3 rounds" in text
    assert "cache-write on Intel Xeon, 2 cores; timer cpu, cache cold; 1 and 1 rounds" in text


@pytest.mark.parametrize(
    ("factor", "fail_on", "status"),
    [
        (1.3, "slower", 1),
        (1.3, "unclear", 1),
        (1.3, "never", 0),
        (1.0, "slower", 0),
        (1.0, "unclear", 0),
        (0.7, "unclear", 0),
    ],
)
def test_fail_on_says_what_ends_in_status_1(
    db: str, factor: float, fail_on: str, status: int
) -> None:
    add(db, "base", scaled([1, 1, 1]))
    add(db, "head", scaled([factor] * 3))
    assert diff(db, *SIDES, "--fail-on", fail_on).exit_code == status


@pytest.mark.parametrize(
    ("margin", "verdict"),
    [("1%", "slower"), ("10 %", "unclear"), ("50%", "same"), ("0%", "slower")],
)
def test_the_margin_says_what_matters(db: str, margin: str, verdict: str) -> None:
    add(db, "base", scaled([1], [CASE]))
    add(db, "head", scaled([1.1], [CASE]))
    found = diff(db, *SIDES, "--margin", margin, "--format", "json")
    assert cells_of(found) == {"q512": verdict}


def test_the_newest_run_of_a_label_counts_unless_runs_are_pooled(db: str) -> None:
    add(db, "base", scaled([1], [CASE]))
    add(db, "head", scaled([1.3], [CASE]))
    add(db, "head", scaled([1.0], [CASE]))
    newest = json.loads(diff(db, *SIDES, "--format", "json").stdout)
    assert [run["number"] for run in newest["head"]["runs"]] == [3]
    assert newest["cells"][0]["head_rounds"] == 3
    pooled = json.loads(diff(db, *SIDES, "--pool", "--format", "json").stdout)
    assert [run["number"] for run in pooled["head"]["runs"]] == [2, 3]
    assert pooled["cells"][0]["head_rounds"] == 6
    line = "a side has several runs; differences are shown for the newest of each\n"
    assert line in diff(db, *SIDES, "--pool").stdout


def test_json_holds_times_in_seconds_and_what_was_not_compared(db: str) -> None:
    naive = attn("q512", "naive")
    add(db, "base", {CASE: timed(CASE, 1e-3, 1e-3, 1e-3), naive: timed(naive, 1e-3)})
    add(db, "head", {CASE: timed(CASE, 2e-3, 2e-3, 2e-3)})
    found = json.loads(diff(db, *SIDES, "--format", "json").stdout)
    (cell,) = found["cells"]
    assert (cell["verdict"], found["counts"]) == ("slower", {"slower": 1})
    assert (cell["base_s"], cell["head_s"]) == (pytest.approx(1e-3), pytest.approx(2e-3))
    assert cell["ratio"] == pytest.approx(2.0)
    assert cell["low"] < cell["ratio"] < cell["high"]
    assert found["geometric_mean_ratio"] == pytest.approx(2.0)
    assert [each["backend"] for each in found["only_in_base"]] == ["naive"]


@pytest.mark.parametrize(
    ("machine", "method", "difference"),
    [
        (H200, ON_CPU, "Intel(R) Xeon(R) Processor -> NVIDIA H200"),
        (CPU, Method("cpu", cache="hot"), "cache cold -> hot"),
        (CPU, Method("cpu", samples=20), "samples unset -> 20"),
        (
            CPU,
            Method("cpu", between="layer"),
            "between nothing -> layer (--across between compares them; --between nothing layer "
            "measures both)",
        ),
    ],
)
def test_what_cannot_be_compared_ends_in_status_3(
    db: str, machine: Machine, method: Method, difference: str
) -> None:
    add(db, "base", scaled([1], [CASE]))
    add(db, "head", scaled([1], [CASE]), machine, method)
    found = diff(db, *SIDES)
    assert (found.exit_code, found.stdout) == (3, "")
    assert found.stderr == (
        "Error: nothing to compare: no case has the same method, machine model, cache state and "
        f"regime on both sides\n  not comparable, {difference}: sdpa q512\n"
        "  measure both sides with the same options, e.g. attnbench attn --label NAME\n"
    )


def test_a_time_under_load_is_not_compared_with_one_without(db: str) -> None:
    add(db, "base", {CASE: timed(CASE, 1e-3, 1e-3)})
    add(db, "head", {CASE: timed(CASE, 1.1e-3, 1.1e-3, labels=("sustained",))})
    found = diff(db, *SIDES)
    assert found.exit_code == 3
    assert "not comparable, regime burst -> sustained: sdpa q512" in found.stderr


def test_failures_on_both_sides_compare_nothing(db: str) -> None:
    for label in ("base", "head"):
        add(db, label, {CASE: failed(Status.OOM, "30 GiB needed")})
    found = diff(db, *SIDES)
    assert found.exit_code == 3
    assert found.stderr.startswith(
        "Error: nothing to compare: no case has a time on either side\n"
        "  out-of-memory: sdpa q512: 30 GiB needed\n"
    )


def test_a_run_is_not_compared_with_itself(db: str) -> None:
    add(db, "base", scaled([1, 1, 1]))
    found = diff(db, "--base", "base", "--head", "latest")
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr == (
        "Error: --base base and --head latest both name run 1, and a run compared with itself "
        "shows nothing; name two different sides, e.g. --base 1 --head 2 (`attnbench runs` lists "
        "them), or a field that differs between its cases, e.g. --across backend\n"
    )


def test_an_unknown_ref_is_a_usage_error(db: str) -> None:
    add(db, "base", scaled([1, 1, 1]))
    found = diff(db, *SIDES)
    assert found.exit_code == 2
    assert "head: no run" in found.stderr


@pytest.mark.parametrize("margin", ["0.01", "1", "-1%", "one%", "1%%", "\u0661%"])
def test_a_margin_is_a_percentage(db: str, margin: str) -> None:
    found = diff(db, *SIDES, f"--margin={margin}")
    assert found.exit_code == 2
    assert (
        f"Invalid value for '--margin': '{margin}' is not a percentage; expected a number of 0 or "
        "more and a percent sign, e.g. 1%"
    ) in found.stderr


@pytest.mark.parametrize(
    ("machine", "interleaved", "margin"),
    [(CPU, None, 0.05), (CPU, "turns", 0.01), (H200, None, 0.01)],
)
def test_separate_runs_on_a_cpu_have_a_wider_margin(
    db: str, machine: Machine, interleaved: str | None, margin: float
) -> None:
    with Store.open(db) as store:
        for label in ("base", "head"):
            results = scaled([1, 1, 1])
            store_run(store, results, label=label, machine=machine, interleaved=interleaved)
    assert json.loads(diff(db, *SIDES, "--format", "json").stdout)["margin"] == margin
    asked = diff(db, *SIDES, "--margin", "2%", "--format", "json").stdout
    assert json.loads(asked)["margin"] == 0.02
