"""`attnbench report`: which runs it shows, in which form, and what it refuses."""

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.records import RunStatus
from attnbench.timing.method import Method
from attnbench.timing.sentinels import Sentinels
from tests.markdown import unpadded
from tests.stored_results import H200, attn, store_run, timed

CASE, OTHER = attn("q512"), attn("q1k", "naive")


@pytest.fixture
def db(tmp_path: Path) -> str:
    """Run 1 "main" and run 2 "pr" measured one case, run 3 another; run 4 ended before it began."""
    path = tmp_path / "report.db"
    with Store.open(path) as store:
        store_run(store, {CASE: timed(CASE, 1e-3)}, label="main")
        store_run(store, {CASE: timed(CASE, 2e-3)}, label="pr")
        store_run(store, {OTHER: timed(OTHER, 3e-3, 3e-3)}, label="pr", machine=H200)
        store_run(store, {}, label="empty", status=RunStatus.INTERRUPTED)
    return str(path)


def report(db: str, *options: str) -> Result:
    return CliRunner().invoke(cli, ["report", "--db", db, *options])


LATEST = """\
run 3 "pr": attn on NVIDIA H200 (SM90); timer cpu, cache cold; 2 rounds
backend naive, dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

      latency   +-                 roof
spec       ms    %  TFLOP/s  GB/s     %
----  -------  ---  -------  ----  ----
q1k      3.00  0.0     2.87  14.0   4.3
"""


def test_the_latest_run_that_measured_something_is_shown(db: str) -> None:
    found = report(db)
    assert found.exit_code == 0
    assert found.stdout == LATEST


@pytest.mark.parametrize(
    ("refs", "headings"),
    [
        (["1"], ['run 1 "main"']),
        (["main", "2"], ['run 1 "main"', 'run 2 "pr"']),
        (["pr"], ['run 2 "pr"', 'run 3 "pr"']),
        (["gpu:H200"], ['run 3 "pr"']),
    ],
)
def test_refs_name_the_runs(db: str, refs: list[str], headings: list[str]) -> None:
    lines = report(db, "--run", *refs).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("run")] == headings


def test_of_a_label_the_newest_run_of_each_case_counts(tmp_path: Path) -> None:
    with Store.open(tmp_path / "report.db") as store:
        store_run(store, {c: timed(c, 1e-3) for c in (CASE, OTHER)}, label="main")
        store_run(store, {CASE: timed(CASE, 7e-3)}, label="main")
    text = report(str(tmp_path / "report.db"), "--run", "label:main").stdout
    assert text.startswith('runs 1 "main", 2 "main": attn')
    assert "q512  sdpa        7.00" in text
    assert "q1k   naive       1.00" in text


def test_a_pivot_can_be_asked_for(db: str) -> None:
    text = report(db, "--run", "1", "--pivot", "backend", "--metric", "gbps").stdout
    assert "useful byte rate, GB/s\n\nspec  sdpa\n----  ----\nq512  21.0\n" in text


def test_a_pivot_over_runs_puts_them_into_one_table(db: str) -> None:
    text = report(db, "--run", "1", "2", "--pivot", "label").stdout
    assert text.endswith("""\
latency, ms

      label  label
spec   main     pr
----  -----  -----
q512   1.00   2.00
""")


def test_runs_that_a_pivot_cannot_put_side_by_side_say_why(tmp_path: Path) -> None:
    path, case = tmp_path / "r.db", attn("q512")
    with Store.open(path) as store:
        for label, samples in (("a", None), ("b", 5)):
            method = Method("cpu", samples=samples)
            store_run(store, {case: timed(case, 1e-3)}, label=label, method=method)
    text = report(str(path), "--run", "1", "2", "--pivot", "label").stdout
    why = "labels are in tables of their own where the method of timing or the machine differs"
    assert " ".join(text.split()).endswith(why)


@pytest.fixture
def rivals(tmp_path: Path) -> str:
    """Two backends on three batches: one is the best twice, and once they are tied."""
    factors = {"q1k": 4.0, "q2k": 0.5, "2q1k": 1.001}
    results = {
        (case := attn(spec, backend)): timed(case, *(time * each for each in (1, 1.001, 0.999)))
        for spec, factor in factors.items()
        for backend, time in (("sdpa", 2e-3), ("naive", 2e-3 * factor))
    }
    with Store.open(tmp_path / "report.db") as store:
        store_run(store, results)
    return str(tmp_path / "report.db")


BY_BATCH = """\
backend   q1k   q2k  2q1k
-------  ----  ----  ----
sdpa     2.00  2.00  2.00
naive    8.00  1.00  2.00
"""

BY_KV_LEN = """\
     num     q           kv len  kv len
requests   len  backend    1024    2048
--------  ----  -------  ------  ------
       1  1024  sdpa       2.00       -
       1  1024  naive      8.00       -
       1  2048  sdpa          -    2.00
       1  2048  naive         -    1.00
       2  1024  sdpa       2.00       -
       2  1024  naive      2.00       -
"""


FOLDED = """\
backend   q1k   q2k
-------  ----  ----
sdpa     2.00  2.00
naive    8.00  1.00

backend  2q1k
-------  ----
sdpa     2.00
naive    2.00
"""


def test_a_pivot_that_is_too_wide_has_its_columns_in_several_tables(
    rivals: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert report(rivals, "--pivot", "batch").stdout.endswith(FOLDED)
    in_markdown = report(rivals, "--pivot", "batch", "--format", "markdown").stdout
    assert "| backend   |   q1k |   q2k |   2q1k |" in in_markdown


@pytest.mark.parametrize(("field", "table"), [("batch", BY_BATCH), ("kv_len", BY_KV_LEN)])
def test_any_field_can_have_the_columns(rivals: str, field: str, table: str) -> None:
    assert report(rivals, "--pivot", field).stdout.endswith(table)


def test_the_best_of_each_workload_is_told_with_its_ties(rivals: str) -> None:
    text = report(rivals, "--best").stdout
    assert (
        text
        == """\
run 1: attn on Intel Xeon, 2 cores; timer cpu, cache cold; 3 rounds
dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

             latency                   vs          95 %
spec  best        ms  ties   next    best      interval
----  -----  -------  -----  -----  -----  ------------
q1k   sdpa      2.00  -      naive  4.00x  3.99 to 4.01
q2k   naive     1.00  -      sdpa   2.00x  2.00 to 2.00
2q1k  sdpa      2.00  naive  -          -             -

best of 3 workloads: naive in 1, tied in 1; sdpa in 1, tied in 1
tie: shown to take as long as the best, within 1 % or the noise that selfcheck
  stored
"""
    )


def test_a_tie_stands_in_the_table_of_all_rows(rivals: str) -> None:
    rows = [line.split() for line in report(rivals).stdout.splitlines() if "q1k " in line]
    assert [(row[1], row[-2]) for row in rows] == [
        ("sdpa", "best"),
        ("naive", "4.00x"),
        ("sdpa", "best"),
        ("naive", "tie"),
    ]


def test_rounds_that_tell_nothing_of_each_other_have_no_long_interval(tmp_path: Path) -> None:
    results = {(case := attn("q1k")): timed(case, 1e-3, 1e-3)}
    wild = attn("q1k", "naive")
    with Store.open(tmp_path / "wild.db") as store:
        store_run(store, {**results, wild: timed(wild, 1e-3, 1e3)})
    path = str(tmp_path / "wild.db")
    rows = [line.split() for line in report(path).stdout.splitlines() if "naive" in line]
    assert [row[-2:] for row in rows] == [["unclear", ">100"]]
    assert report(path, "--best").exit_code == 0


def test_conditions_choose_among_the_rows(rivals: str) -> None:
    text = report(rivals, "--where", "backend=naive", "kv_len>=2k").stdout
    assert [line.split()[0] for line in text.splitlines()[-1:]] == ["q2k"]
    records = json.loads(report(rivals, "--where", "q_len=1024", "--format", "json").stdout)
    assert {each["batch_spec"] for each in records} == {"q1k", "2q1k"}


@pytest.mark.parametrize("shown", [[], ["--best"]])
def test_conditions_leave_a_row_as_it_is(tmp_path: Path, shown: list[str]) -> None:
    """All rows' rounds say how much times vary, whichever rows are asked for."""
    results = {}
    for size in range(1, 21):
        for backend, time in (("sdpa", 1e-3), ("naive", 2e-3)):
            case, wobble = attn(f"{size}q1kv1k", backend), time * (1 + size % 5)
            results[case] = timed(case, time, time * (1 + wobble), time)
    with Store.open(tmp_path / "report.db") as store:
        store_run(store, results)
    path, asked = str(tmp_path / "report.db"), ["--where", "num_requests<=3"]
    whole, part = (report(path, *shown, *where).stdout for where in ([], asked))
    found = [line.split() for line in part.splitlines() if "q1kv1k" in line]
    assert len(found) == (3 if shown else 6)
    assert found == [line.split() for line in whole.splitlines() if "q1kv1k" in line][: len(found)]


def test_a_row_can_show_the_key_of_its_case(rivals: str) -> None:
    assert f"\n{attn('q2k').key[:8]}  q2k   sdpa" in report(rivals, "--ids").stdout


def test_markdown_is_a_table_for_a_pull_request(db: str) -> None:
    markdown = report(db, "--run", "1", "--format", "markdown").stdout
    lines = unpadded(markdown).splitlines()
    assert '**run 1 "main": attn on Intel Xeon, 2 cores; timer cpu, cache cold; 1 round**' in lines
    assert "| q512 | 1.00 | 0.1 | 2.15 | 21.0 |" in lines


@pytest.fixture
def with_host_times(db: str) -> str:
    """The database with sentinels of run 3, and run 5, which knows what its calls cost the host."""
    with Store.open(db) as store:
        for moment, rate in (("start", 4e12), ("end", 2e12)):
            reached = Sentinels(rate, 3e12, 700e12)
            store.add_sentinels(3, moment, reached.as_facts())
        rounds = [replace(each, enqueue_seconds=21e-6) for each in timed(CASE, 1e-3)]
        store_run(store, {CASE: rounds})
    return db


def test_what_the_device_reached_is_shown_with_its_drift(with_host_times: str) -> None:
    text = report(with_host_times, "--run", "3").stdout
    assert text.splitlines()[4:8] == [
        "      latency   +-                 roof  meas",
        "spec       ms    %  TFLOP/s  GB/s     %     %",
        "----  -------  ---  -------  ----  ----  ----",
        "q1k      3.00  0.0     2.87  14.0   4.3   0.3",
    ]
    assert "the device drifted from run 3's start to its end: copy rate -50.0 %; other" in text
    (row, _) = json.loads(report(with_host_times, "--run", "3", "--format", "json").stdout)
    assert row["of_measured"] == pytest.approx(row["bytes"] / 4e12 / 3e-3, rel=0.01)


def test_host_times_are_shown_on_request(with_host_times: str) -> None:
    assert "enqueue" not in report(with_host_times, "--run", "5").stdout
    assert "q512     1.00  0.1     21.0" in report(with_host_times, "--run", "5", "--host").stdout


def test_csv_and_json_hold_every_round_once(db: str) -> None:
    rows = list(csv.DictReader(StringIO(report(db, "--run", "pr", "3", "--format", "csv").stdout)))
    assert [(row["run"], row["round"], row["backend"]) for row in rows] == [
        ("2", "1", "sdpa"),
        ("3", "1", "naive"),
        ("3", "2", "naive"),
    ]
    records = json.loads(report(db, "--run", "pr", "3", "--format", "json").stdout)
    assert [each["uuid"] for each in records] == [row["uuid"] for row in rows]


def test_the_output_can_be_a_file(db: str, tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    found = report(db, "--format", "markdown", "--output", str(path))
    assert (found.stdout, found.stderr) == ("", f"note: wrote {path}\n")
    assert path.read_text() == report(db, "--format", "markdown").stdout


def test_a_text_table_in_a_file_that_is_named_as_csv_is_said(db: str, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    found = report(db, "--output", str(path))
    assert found.stderr == (
        f"note: wrote {path} as a text table; --format csv writes what its name says\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--metric", "gbps"],
            "--metric gbps chooses what --pivot shows, and a table without it shows all; add the "
            "pivot, e.g. --pivot backend --metric gbps",
        ),
        (
            ["--pivot", "backend", "--format", "csv"],
            "--format csv has every round and all metrics, so --pivot does not apply; leave "
            "it out, or choose another format, e.g. --format markdown",
        ),
        (
            ["--pivot", "backend", "--host"],
            "--host adds columns to the table of all metrics, and --pivot shows one metric; leave "
            "one of them out, e.g. attnbench report --host",
        ),
        (
            ["--best", "--host"],
            "--best shows one row per workload with its own columns, and takes only --run, --where "
            "and --format markdown, e.g. attnbench report --best",
        ),
        (
            ["--where", "backend=triton"],
            "--where backend=triton: no measurement of latest meets that (backend is naive there); "
            "name other runs, e.g. --run main, or fewer conditions",
        ),
        (
            ["--where", "kv_len>4", "backend=naiv"],
            "--where kv_len>4 backend=naiv: no measurement of latest meets that (did you mean "
            "naive?); name other runs, e.g. --run main, or fewer conditions",
        ),
        (
            ["--run", "empty"],
            "'empty' names run 4, which ended before any measurement; `attnbench runs` "
            "lists runs with their outcomes",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(db: str, options: list[str], message: str) -> None:
    found = report(db, *options)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr == f"Error: {message}\n"


def test_a_pivot_over_a_field_that_is_none_lists_the_fields(db: str) -> None:
    found = report(db, "--pivot", "colour")
    assert found.exit_code == 2
    assert "'bakend' (did you mean backend?); the" in report(db, "--pivot", "bakend").stderr
    assert "--pivot colour: no case has a field 'colour'; the fields are backend," in found.stderr


def test_a_pivot_over_a_length_needs_batches_that_have_one(tmp_path: Path) -> None:
    mixed = attn("2q256_8q1kv1k")
    with Store.open(tmp_path / "mixed.db") as store:
        store_run(store, {mixed: timed(mixed, 1e-3)})
    found = report(str(tmp_path / "mixed.db"), "--pivot", "kv_len")
    assert found.exit_code == 2
    assert "the requests of 8q1kv1k_2q256 differ in it" in found.stderr


def test_an_unknown_ref_lists_the_known_ones(db: str) -> None:
    found = report(db, "--run", "nightly")
    assert found.exit_code == 2
    assert "nightly: no run" in found.stderr
    assert "label: empty, pr, main" in found.stderr


def test_a_missing_database_is_told_how_to_fill(tmp_path: Path) -> None:
    found = report(str(tmp_path / "none.db"))
    assert found.exit_code == 2
    assert "none.db does not exist" in found.stderr


def test_no_view_takes_a_time_that_a_cpu_never_reached_for_a_result(tmp_path: Path) -> None:
    right, stale = attn("q1kv16k", "naive"), attn("q1kv16k", "sdpa")
    with Store.open(tmp_path / "wrong.db") as store:
        run = store_run(store, {right: timed(right, 5e-3), stale: timed(stale, 13e-6)})
        store.add_sentinels(run, "start", Sentinels(20e9, 15e9, 300e9).as_facts())
    best = report(str(tmp_path / "wrong.db"), "--best").stdout
    assert "nothing to compare with" in best
    pivot = report(str(tmp_path / "wrong.db"), "--pivot", "backend").stdout
    assert "!0.013" in pivot
