"""SQL views and pandas say what `report` says."""

import json
import math
import random
import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.types import NullType

import attnbench
from attnbench.analysis.series import Series
from attnbench.db.store import Store
from attnbench.db.views import VIEWS, view_table
from attnbench.errors import UsageError
from attnbench.provenance.environment import Component
from attnbench.provenance.source import Source
from attnbench.records import Outcome, Status
from attnbench.reporting.export import record
from attnbench.reporting.html.figures import times
from attnbench.reporting.html.workloads import workloads_of
from attnbench.results.cohort import Cohort
from attnbench.results.history import histories
from attnbench.results.report import read_run
from tests import markdown
from tests.stored_results import (
    ENVIRONMENT,
    H100,
    H200,
    ON_GPU,
    SOURCE,
    attn,
    failed,
    mla,
    store_run,
    timed,
)
from tests.test_stored_verdicts import unpacked

PAGE = (Path(__file__).parent.parent / "docs" / "reference" / "schema.md").read_text()
QUERIES = markdown.blocks(PAGE, "sql")
STORED = ("h200_vllm.db", "h200_served_studies.db", "served.db", "h200_ragged.db")
# The columns of `rounds` by the names of records where they differ, with their units.
COLUMNS = {
    **{f"{name}_s": (name, 1e6) for name in ("low", "high")},
    **{f"{name}_s": (f"{name}_us", 1e6) for name in ("kernel", "enqueue", "plan")},
    "median_s": ("us", 1e6),
    "batch_spec": ("batch", 1),
    "max_q_len": ("q_len", 1),
    "max_kv_len": ("kv_len", 1),
    "cache_asked": ("cache", 1),
    "machine": ("gpu", 1),
    "commit": ("commit_hash", 1),
    "window": ("window_size", 1),
}
Row = dict[str, object]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Databases of docs/results, of an older schema, migrated."""
    folder = tmp_path_factory.mktemp("stored")
    paths = [unpacked(folder, name) for name in STORED]
    for path in paths:
        Store.open(path, note=lambda _: None).close()
    return paths


def rows(path: Path, query: str) -> list[Row]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def cohorts(path: Path) -> Iterator[Cohort]:
    """Those of each run by itself."""
    with Store.open(path) as store:
        for run in store.runs():
            report = read_run(store, run.number)
            yield from report.cohorts_of(report.selections[0])


def shown(cohort: Cohort) -> Iterator[tuple[Series, Row]]:
    """What `report` shows of each row with a time, by the names of `results`."""
    listed = zip(cohort.timed, cohort.standings, cohort.roofline_fractions, strict=True)
    for series, standing, fraction in listed:
        assert series.time is not None
        several = len(series.medians) > 1
        first = series.timed[0]
        ratio = standing and (standing.comparison.ratio if standing.comparison else 1.0)
        yield (
            series,
            {
                "us": series.time * 1e6,
                "low": 1e6 * (min(series.medians) if several else first.low or 0),
                "high": 1e6 * (max(series.medians) if several else first.high or 0),
                "tflops": _over(series.flops_per_second, 1e12),
                "gbps": _over(series.bytes_per_second, 1e9),
                "roofline": fraction,
                "ratio_to_best": ratio,
                "cache_state": series.cache_state,
                "regime": series.regime,
                "rounds": len(series.medians),
                "status": "ok",
            },
        )


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def key(series: Series) -> tuple[object, object, object]:
    return series.first.run, series.first.case_key, series.first.method_key


def test_results_are_what_report_shows(stored: Sequence[Path]) -> None:
    compared = 0
    for path in stored:
        found = {
            (row["run"], row["case_key"], row["method_key"]): row
            for row in rows(path, "SELECT * FROM results WHERE us IS NOT NULL")
        }
        for cohort in cohorts(path):
            for series, expected in shown(cohort):
                row = found.pop(key(series))
                for name, value in expected.items():
                    about = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
                    assert row[name] == about, name
                assert set(str(row["labels"]).split(",")) - {""} == set(series.labels)
                compared += 1
        assert not found
    assert compared > 1500


def test_a_bar_of_a_page_spans_what_results_says(stored: Sequence[Path]) -> None:
    (path,) = (each for each in stored if each.name == "served.db")
    listed = rows(path, "SELECT * FROM results")
    found = {(row["run"], row["case_key"], row["method_key"]): row for row in listed}
    lopsided = 0
    for cohort in cohorts(path):
        ranked = [each for workload in workloads_of(cohort) for each in workload.rows]
        bars = times("us", ranked, 1e-6)
        for at, series in enumerate(ranked):
            row = found[key(series)]
            for name in ("us", "low", "high"):
                assert bars[name][at] == pytest.approx(row[name], rel=5e-4)
            low, middle, high = (float(str(row[name])) for name in ("low", "us", "high"))
            lopsided += high - middle > 1.5 * (middle - low)
    assert lopsided > 5


def test_a_stored_row_that_lacks_rounds_is_compared_over_those_it_has(
    stored: Sequence[Path],
) -> None:
    """Run 1 was interrupted in its second round: flash was compared over both rounds of another."""
    (row,) = rows(
        stored[-1],
        "SELECT us / (SELECT min(us) FROM results AS b WHERE b.run = a.run AND b.rounds > 1"
        " AND b.workload_key = a.workload_key) AS unpaired, ratio_to_best"
        " FROM results AS a WHERE ratio_to_best < 1",
    )
    assert f"{row['unpaired']:.4f}, {row['ratio_to_best']:.4f}" == "0.7064, 0.7074"


@pytest.mark.parametrize("seed", range(10))
def test_rows_that_lack_rounds_have_the_ratio_that_report_shows(tmp_path: Path, seed: int) -> None:
    path, chance = tmp_path / "r.db", random.Random(seed)
    with Store.open(path) as store:
        results = {
            case: [
                timed(case, (1 + at) * chance.uniform(0.9, 1.1))[0]
                if chance.random() < 0.7
                else Outcome(Status.TIMEOUT, "took too long")
                for at in range(4)  # later rounds are slower
            ]
            for case in (attn("8q1kv1k", f"backend{n}") for n in range(6))
        }
        store_run(store, results, machine=H100)
    (cohort,) = cohorts(path)
    found = {row["case_key"]: row["ratio_to_best"] for row in rows(path, "SELECT * FROM results")}
    for series, expected in shown(cohort):
        assert found[series.first.case_key] == pytest.approx(expected["ratio_to_best"], rel=1e-9)


@pytest.mark.parametrize(
    ("others", "ratios"),
    [
        ([], {"several": 1.25, "single": 1}),
        (failed(Status.TIMEOUT, ""), {"several": 1, "single": 0.8}),
    ],
    ids=["its only round", "the others failed"],
)
def test_where_one_case_has_several_rounds_the_quickest_won_the_common_one(
    tmp_path: Path, others: list[Outcome], ratios: dict[str, float]
) -> None:
    path, several, single = tmp_path / "r.db", attn("q1k", "several"), attn("q1k", "single")
    with Store.open(path) as store:
        results = {several: timed(several, 1e-3, 2e-3), single: [*timed(single, 8e-4), *others]}
        store_run(store, results)
    found = rows(path, "SELECT backend, ratio_to_best FROM results")
    assert {row["backend"]: row["ratio_to_best"] for row in found} == pytest.approx(ratios)


def test_rounds_are_the_records_of_csv_and_json(stored: Sequence[Path]) -> None:
    compared = set[str]()
    for path in stored:
        found = {row["uuid"]: row for row in rows(path, "SELECT * FROM rounds")}
        with Store.open(path) as store:
            records = [
                record(each, run)
                for run in store.runs()
                for each in store.measurements([run.number])
            ]
        for each in records:
            row = found[each["uuid"]]
            for name, value in each.items():
                own, unit = COLUMNS.get(name, (name, 1))
                if own in row and own != "started":
                    compared.add(name)
                    assert is_in_sql(row[own], value, unit), name
    assert compared >= {*COLUMNS, "status", "reason", "tflops", "gbps", "cache_state", "regime"}


def is_in_sql(found: object, value: object, unit: float) -> bool:
    """Whether a view has the value of a record."""
    if isinstance(value, list):
        return f"{found}" == ",".join(sorted(value))
    if isinstance(value, dict):
        return json.dumps(value) == json.dumps(json.loads(str(found)))
    if isinstance(value, float) and isinstance(found, float):
        return math.isclose(found, value * unit, rel_tol=1e-9)
    return found == value


def test_every_field_of_a_case_is_a_column(stored: Sequence[Path]) -> None:
    names = {"window": "window_size"}
    row_of = {row["case_key"]: row for row in rows(stored[0], "SELECT * FROM results")}
    for cohort in cohorts(stored[0]):
        for series in cohort.series:
            row, case = row_of[series.first.case_key], series.case
            knobs = dict(case.knobs)
            fields = {n: v for n, v in case.fields().items() if n not in knobs}
            assert {name: row[names.get(name, name)] for name in fields} == fields
            lengths = (len(case.batch), case.batch.max_q_len, case.batch.max_kv_len)
            assert (row["num_requests"], row["q_len"], row["kv_len"]) == lengths
            assert all(f'"{name}":' in str(row["knobs"]) for name in knobs)


def test_a_round_that_was_wrong_or_impossible_is_never_the_best(tmp_path: Path) -> None:
    path, fast, right = tmp_path / "r.db", attn("8q1kv1k", "fast"), attn("8q1kv1k", "right")
    wrong, behind = attn("8q1kv1k", "wrong"), attn("8q1kv1k", "behind")
    with Store.open(path) as store:
        results = {
            fast: timed(fast, 1e-9, 1e-9),  # above the H200's roofline
            wrong: [*timed(wrong, 1e-5), Outcome(Status.INCORRECT, "differs")],
            right: timed(right, 2e-5, 2e-5),
            behind: timed(behind, 3e-5, 3e-5),
        }
        store_run(store, results, machine=H200, method=ON_GPU)
    found = {row["backend"]: row for row in rows(path, "SELECT * FROM results")}
    ratios = {name: row["ratio_to_best"] for name, row in found.items()}
    assert ratios == {"fast": None, "wrong": None, "right": 1, "behind": pytest.approx(1.5)}
    names = ("status", "us", "low", "rounds", "failed", "gbps", "cache_state", "regime")
    assert [found["wrong"][n] for n in names] == ["incorrect", None, None, 0, 2, *[None] * 3]


def test_an_impossible_time_has_its_label_in_rounds_as_in_csv(tmp_path: Path) -> None:
    path, fast, cached = tmp_path / "r.db", attn("8q1kv1k", "fast"), attn("8q1kv1k", "cached")
    with Store.open(path) as store:
        hot = [replace(each, cache_state="hot") for each in timed(cached, 1e-7)]
        results = {fast: timed(fast, 1e-9, 1e-3), cached: hot}
        run = store.run(store_run(store, results, machine=H200, method=ON_GPU))
        listed = {m.uuid: record(m, run)["labels"] for m in store.measurements([run.number])}
    found = {row["uuid"]: row["labels"] for row in rows(path, "SELECT * FROM rounds")}
    assert all(is_in_sql(found[uuid], labels, 1) for uuid, labels in listed.items())
    assert sorted(map(str, found.values())) == ["", "", "above_roofline"]


def test_splits_of_mla_that_do_unequal_work_are_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    cases = [replace(mla("8q4kv1k", threshold=at), scope="kernel") for at in (1, 2, 8)]
    with Store.open(path) as store:
        results = {
            case: [replace(each, decode_requests=split) for each in timed(case, 1e-2, seconds)]
            for case, split, seconds in zip(cases, (0, 0, 8), (1e-2, 4e-2, 9e-2), strict=True)
        }
        store_run(store, results, machine=H100)
    found = rows(path, "SELECT decode_requests, ratio_to_best FROM results ORDER BY us")
    assert [(row["decode_requests"], row["ratio_to_best"]) for row in found] == [
        (0, 1),
        (0, pytest.approx(2)),
        (8, 1),
    ]


def test_a_refused_case_has_a_row_without_a_time(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    with Store.open(path) as store:
        store_run(store, {attn("q8"): failed(Status.REFUSED, "needs SM100")})
    (row,) = rows(path, "SELECT * FROM results")
    assert (row["status"], row["us"], row["rounds"], row["failed"]) == ("refused", None, 0, 1)


def test_history_pools_the_runs_of_a_commit(tmp_path: Path) -> None:
    path, case = tmp_path / "r.db", attn("q1k")
    with Store.open(path) as store:
        for commit, time in (("a", 1e-5), ("a", 4e-5), ("b", 3e-5)):
            source = replace(SOURCE, commit=commit * 40)
            store_run(store, {case: timed(case, time)}, source=source)
    first, second = rows(path, "SELECT * FROM history ORDER BY started")
    assert (first["us"], first["num_runs"]) == (pytest.approx(20), 2)
    assert first["ratio_to_previous"] is None
    assert second["ratio_to_previous"] == pytest.approx(1.5)


def test_history_has_the_versions_of_its_command(tmp_path: Path) -> None:
    path = unpacked(tmp_path, "limited_runs.db")
    with Store.open(path, note=lambda _: None) as store:
        listed = histories(store, "", (), None)
    names = ("case_key", "method_key", "machine_model", "regime", "num_runs")
    found = {tuple(row[n] for n in names): row["us"] for row in rows(path, "SELECT * FROM history")}
    assert found == {
        (*each.series.key, each.series.regime, len(version.runs)): pytest.approx(1e6 * version.time)
        for each in listed
        for version in each.versions
    }
    assert len(found) == 32  # two versions of each


def test_history_pools_the_runs_of_a_release_as_its_command_does(tmp_path: Path) -> None:
    path, case = tmp_path / "r.db", attn("q1k")
    with Store.open(path) as store:
        for vllm, time in (("0.25.0", 1e-5), ("0.25.0", 4e-5), ("0.25.1", 3e-5)):
            components = {"vllm": Component(vllm), "torch": Component("2.11.0")}
            environment = replace(ENVIRONMENT, components=components)
            store_run(
                store, {case: timed(case, time)}, source=Source("none"), environment=environment
            )
        (history,) = histories(store, "", (), None)
    found = rows(path, "SELECT version, num_runs, us FROM history ORDER BY started")
    assert [row["version"] for row in found] == [
        "vllm 0.25.0, torch 2.11.0",
        "vllm 0.25.1, torch 2.11.0",
    ]
    assert [(row["num_runs"], row["us"]) for row in found] == [
        (len(each.runs), pytest.approx(each.time * 1e6)) for each in history.versions
    ]


def test_ten_documented_queries_answer(stored: Sequence[Path]) -> None:
    assert len(QUERIES) == 10
    for query in QUERIES:
        assert any(rows(path, query) for path in stored), query


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
@pytest.mark.parametrize("name", VIEWS)
def test_every_column_has_a_type_by_which_it_is_exported(name: str, dialect: str) -> None:
    columns = view_table(name, dialect).c
    assert not [each.name for each in columns if isinstance(each.type, NullType)]


def test_all_columns_are_documented(stored: Sequence[Path]) -> None:
    listed = set(re.findall(r"`(\w+)`", PAGE))
    for view in VIEWS:
        assert set(rows(stored[0], f"SELECT * FROM {view} LIMIT 1")[0]) <= listed


def test_a_frame_has_the_rows_of_its_view(stored: Sequence[Path]) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    for view in VIEWS:
        frame, listed = attnbench.load(stored[0], view), rows(stored[0], f"SELECT * FROM {view}")
        assert list(frame.columns) == list(listed[0])
        assert len(frame) == len(listed)
    best = attnbench.load(stored[0]).query("ratio_to_best == 1")
    assert len(best) == len(rows(stored[0], "SELECT 1 FROM results WHERE ratio_to_best = 1")) > 0


def test_a_frame_without_pandas_says_how_to_get_it(
    stored: Sequence[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pip install 'attnbench\[data\]'"):
        attnbench.load(stored[0])


def test_an_unknown_view_is_refused(stored: Sequence[Path]) -> None:
    with pytest.raises(UsageError, match="accepted are rounds, results, runs_flat, history"):
        attnbench.load(stored[0], "result")
