"""The pages of `report --html` and `diff --html`, without a browser: what they hold."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.records import Outcome, Status
from attnbench.reporting.html import page as page_module
from attnbench.reporting.html.figures import named_ticks
from attnbench.reporting.html.packed import packed, unpacked
from attnbench.reporting.html.table import HtmlTable
from attnbench.reporting.text_table import Column
from attnbench.specs.case import Case
from attnbench.specs.shape import MlaShape
from tests.html_page import Parsed, run, written
from tests.stored_pages import BACKEND, HOSTILE, LENGTHS, REACHED, SIZES, store_pages
from tests.stored_results import (
    H200,
    attn,
    cache_write,
    failed,
    mla,
    store_run,
    timed,
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("html") / "pages.db"
    store_pages(path)
    return path


@pytest.fixture(scope="module")
def report(db: Path) -> Parsed:
    """The page of the run with the hostile label, and of the one with thresholds."""
    return Parsed(written(db, "report", "--run", "2", "3"))


@pytest.fixture(scope="module")
def diff(db: Path) -> Parsed:
    return Parsed(written(db, "diff", "--base", "1", "--head", "2"))


PAGES = pytest.mark.parametrize("name", ["report", "diff"])


@pytest.fixture
def shown(name: str, request: pytest.FixtureRequest) -> Parsed:
    parsed: Parsed = request.getfixturevalue(name)
    return parsed


@PAGES
def test_a_page_is_one_file_that_asks_for_no_other(shown: Parsed) -> None:
    for _, attributes in shown.elements:
        assert "src" not in attributes
        assert (attributes.get("href") or "#")[0] == "#" or attributes["href"] == "data:,"
    assert "url(" not in shown.texts["style"][0]
    policies = [each["content"] for each in shown.attributes("meta") if "http-equiv" in each]
    assert policies[0] is not None
    assert policies[0].startswith("default-src 'none'")


@PAGES
def test_names_that_hold_markup_are_text(shown: Parsed) -> None:
    assert len(shown.attributes("script")) == 2
    assert not shown.attributes("i")
    assert any(HOSTILE in text for text in (*shown.all("h1"), *shown.all("dd")))
    assert BACKEND in str(shown.data["tables"])


@PAGES
def test_headings_can_be_read_and_sorted_by_without_a_mouse(shown: Parsed) -> None:
    heads = [each for each in shown.attributes("th") if "aria-sort" in each]
    assert heads
    assert {each["scope"] for each in shown.attributes("th")} >= {"col"}
    assert all(each.get("type") == "button" for each in shown.attributes("button"))
    assert len(shown.all("caption")) == len(shown.attributes("table"))
    assert all(each.get("aria-label") for each in shown.attributes("select"))
    regions = [each for each in shown.attributes("div") if each.get("role") == "region"]
    assert len(regions) == len(shown.attributes("table"))
    assert all(each.get("tabindex") == "0" for each in regions)


def test_a_report_holds_the_terminals_table(db: Path, report: Parsed) -> None:
    lines = run(db, "report", "--run", "3").stdout.splitlines()
    row = next(line.split() for line in lines if line.startswith("q16kv1k"))
    columns = report.columns("part1-table")
    names = report.data["tables"]["part1-table"]["groups"]["names"]
    texts = {text for column in columns.values() for text in column} | set(names)
    # The page has backend and threshold in one column, since both choose the implementation.
    assert {*row} - texts <= {"torch-absorbed", "1", "64"}
    assert "torch-absorbed, threshold 1" in texts


@pytest.mark.parametrize(
    ("times", "lead"), [((1.001,), ", level"), ((1.001, 1.2), ", up to 1.20x ahead")]
)
def test_a_lead_of_nothing_is_none(tmp_path: Path, times: Sequence[float], lead: str) -> None:
    path, outcomes = tmp_path / "a.db", dict[Case, Sequence[Outcome]]()
    for at, slower in enumerate(times):
        fast, slow = attn(f"q{at + 1}k"), attn(f"q{at + 1}k", "naive")
        outcomes |= {fast: timed(fast, 1e-3), slow: timed(slow, slower * 1e-3)}
    with Store.open(path) as store:
        store_run(store, outcomes)
    page = Parsed(written(path, "report"))
    assert any(text.startswith("Prefill") and lead in text for text in page.all("li"))


def test_a_report_begins_with_who_won_where_and_by_how_much(report: Parsed) -> None:
    answers = [text for text in report.all("li") if text.startswith("Decode: ")]
    assert answers[0] == (
        f"Decode: sdpa in 6 of 12 (batch size up to 2), 1.30x ahead; {BACKEND} in 6 of 12 "
        "(batch size from 4), 1.25x ahead."
    )
    findings = " ".join(report.all("li"))
    assert f"best of 12 workloads: {BACKEND} in 6; sdpa in 6" in findings
    assert "24 cases measured; 3 rounds" in findings


def test_rows_stand_by_workload_with_the_best_first(report: Parsed) -> None:
    table = report.data["tables"]["part0-table"]
    assert table["groups"]["names"][:2] == ["q1kv1k", "q1kv2k"]
    assert table["groups"]["findings"][0] == "sdpa, next 1.30x"
    columns = report.columns()
    assert columns["implementation"][:2] == ["sdpa", BACKEND]
    assert columns["vs best"][:2] == ["best", "1.30x"]
    assert re.fullmatch(r"1\.\d\d to 1\.\d\d", columns["95 % interval"][1])
    assert table["intervals"]["low"][1] < 1.3 < table["intervals"]["high"][1]


def test_what_a_workload_or_an_implementation_names_has_no_column(tmp_path: Path) -> None:
    cases = [
        replace(mla("q4kv1k", num_splits=splits), shape=MlaShape(heads))
        for heads in (16, 32)
        for splits in (1, 2)
    ]
    with Store.open(tmp_path / "results.db") as store:
        store_run(store, {case: timed(case, 1e-3) for case in cases})
    page = Parsed(written(tmp_path / "results.db", "report"))
    assert not {"num q heads", "num splits", "spec"} & {*page.columns()}
    names = page.data["tables"]["part0-table"]["groups"]["names"]
    assert names == ["q4kv1k, num_q_heads 16", "q4kv1k, num_q_heads 32"]


def test_conditions_of_a_page_have_the_fields_of_where(report: Parsed) -> None:
    facts = report.data["tables"]["part0-table"]["facts"]
    assert {"backend", "kv_len", "q_len", "num_requests", "run", "gpu"} <= {*facts}
    assert unpacked(facts["kv_len"])[:4] == [1024, 1024, 2048, 2048]


def test_my_shape_names_each_measured_workload(report: Parsed) -> None:
    shape = report.data["pickers"]["part0-shape"]["listed"][0]
    assert shape["dims"] == {"batch size": 1, "q_len": 1, "kv_len": 1024}
    assert [row[0] for row in shape["rows"]] == ["sdpa", BACKEND]
    assert shape["rows"][1][2].startswith("1.30x [1.")


def test_a_report_ends_with_where_its_numbers_come_from(report: Parsed) -> None:
    facts = dict(zip(report.all("dt"), report.all("dd"), strict=True))
    assert facts["commit"] == "a" * 40
    assert facts["device"] == "cuda:0: NVIDIA H200 (SM90)"
    assert facts["torch"] == "2.11.0"
    assert facts["copy"] == "4200 GB/s"
    assert report.all("summary") == [f'run 2 "{HOSTILE}"', 'run 3 "paths"']


def test_every_heading_explains_itself(report: Parsed, diff: Parsed) -> None:
    for page in (report, diff):
        tips = [each["title"] for each in page.attributes("button") if "title" in each]
        assert len(tips) > 6
        assert all(tips)


def test_a_diff_begins_with_its_verdicts(diff: Parsed) -> None:
    (sentence,) = diff.all("h1")
    assert sentence.startswith("24 of 24 cases slower, most of all ")
    assert sentence.endswith(" by +10.0 %, +10.0 % in the geometric mean.")
    assert diff.all("title") == ["24 slower - attnbench diff"]
    assert "geometric mean of the 24 cases with a time on both sides: +10.0 %" in diff.all("li")
    assert diff.all("summary") == ['base: run 1 "base"', f'head: run 2 "{HOSTILE}"']


def test_changes_have_the_intervals_of_the_verdicts(diff: Parsed) -> None:
    ((figure,),) = (f for key, f in diff.figures.items() if key.endswith("changes"))
    (series,) = figure["series"]
    assert series["name"] == series["kind"] == "slower"
    assert series["x"] == pytest.approx([10.0] * 24, abs=0.01)
    assert all(0 < low < 10 < high for low, high in zip(series["low"], series["high"], strict=True))


def test_latency_is_drawn_over_what_was_swept(report: Parsed) -> None:
    section = report.data["sections"]["part0-plots"]
    sweep, times = section["sweeps"][0], report.measured()["time"]
    assert (sweep["axis"], section["unit"]) == ("batch size", "us")
    assert sweep["ticks"] == [[size, str(size)] for size in SIZES]
    _, _, places, rows = next(line for line in sweep["lines"] if line[0] == "sdpa")
    assert (places, [times[row] for row in rows]) == (list(SIZES), [11, 22, 44, 88])
    options = report.all("option")
    assert [f"kv_len {each}" for each in LENGTHS] == [o for o in options if "kv_len" in o][:3]


def test_the_ratio_to_the_best_has_its_interval(report: Parsed) -> None:
    rows = report.measured()
    assert rows["ratio"][:2] == [1, pytest.approx(1.3, rel=1e-3)]
    assert rows["ratio_low"][0] is None
    assert rows["ratio_low"][1] < 1.3 < rows["ratio_high"][1]


def test_a_change_of_the_best_is_marked_with_its_interval(report: Parsed) -> None:
    """One is 1.3 times as slow at 2 requests and 0.8 times at 4: they meet between the two."""
    sweep = report.data["sections"]["part0-plots"]["sweeps"][0]
    (mark,) = sweep["marks"]
    assert (mark["name"], mark["low"], mark["high"]) == (BACKEND, 2, 4)
    assert mark["x"] == pytest.approx(2 * 2 ** (math.log(1.3) / math.log(1.3 / 0.8)), rel=0.01)


def test_a_mark_and_a_study_name_the_same_crossover(report: Parsed) -> None:
    (mark,) = report.data["sections"]["part1-plots"]["sweeps"][0]["marks"]
    ((figure,),) = (f for key, f in report.figures.items() if key.endswith("crossover"))
    assert figure["title"] == "prefill beats decode from 10 [4, 16] on"
    found = [(each["x"], each["low"], each["high"]) for each in (mark, *figure["marks"])]
    assert found[0] == found[1] == (pytest.approx(10, abs=0.5), 4, 16)


def test_limits_of_the_machine_bound_the_roofline(report: Parsed) -> None:
    roofs = {r["name"]: r for r in report.data["sections"]["part0-plots"]["rates"]["roofs"]}
    peak, reached = roofs["peak (bf16)"], roofs["reached, run 2"]
    assert max(peak["y"]) == pytest.approx(4096 * 132 * 1.98e9 / 1e12, rel=1e-3)
    assert max(reached["y"]) == pytest.approx(REACHED.flops_per_second / 1e12)
    assert reached["y"][0] / reached["x"][0] == pytest.approx(4.2, rel=1e-3)


def test_what_computes_nothing_has_byte_rates_instead(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.db") as store:
        cases = [cache_write(tokens, "NHD") for tokens in (1, 64, 1024)]
        run_number = store_run(store, {case: timed(case, 1e-5) for case in cases}, machine=H200)
        store.add_sentinels(run_number, "start", REACHED.as_facts())
    page = Parsed(written(tmp_path / "results.db", "report"))
    rates = page.data["sections"]["part0-plots"]["rates"]
    assert rates["y"]["label"] == "useful GB/s"
    assert {roof["name"] for roof in rates["roofs"]} == {"peak (bf16)", "reached, run 1"}
    assert "Byte rate" in page.all("button")


def test_where_the_work_is_not_known_there_is_no_roofline(tmp_path: Path) -> None:
    case = attn("8q1kv1k")
    with Store.open(tmp_path / "results.db") as store:
        store_run(store, {case: [replace(timed(case, 1e-3)[0], flops=0.0, bytes=0.0)]})
    page = Parsed(written(tmp_path / "results.db", "report"))
    metrics = [each.get("data-metric") for each in page.attributes("button")]
    assert [metric for metric in metrics if metric] == ["time"]
    assert page.data["sections"]["part0-plots"]["rates"] is None


def test_both_paths_of_a_threshold_cross(report: Parsed) -> None:
    (figure,) = report.figures["part1-crossover"]
    assert figure["title"] == "prefill beats decode from 10 [4, 16] on"
    paths = {series["name"]: series for series in figure["series"]}
    assert paths["decode path"]["y"] == [5, 20, 80, 320]
    assert paths["prefill path"]["x"] == [4, 16, 64]


def test_a_case_that_no_hardware_can_do_is_in_no_plot(tmp_path: Path) -> None:
    cases = [attn(f"{size}q1kv4k", dtype="bf16") for size in (8, 16, 32, 64)]
    with Store.open(tmp_path / "results.db") as store:
        results = {case: timed(case, 1e-3) for case in cases[1:]} | {
            cases[0]: timed(cases[0], 1e-9)
        }
        store_run(store, results, machine=H200)
    page = Parsed(written(tmp_path / "results.db", "report"))
    assert page.data["sections"]["part0-plots"]["sweeps"][0]["lines"][0][2] == [16, 32, 64]
    latencies = next(texts for head, texts in page.columns().items() if "latency" in head)
    assert [text[0] == "!" for text in latencies] == [False, False, False, True]


def test_the_samples_of_a_round_are_drawn_as_their_percentiles(report: Parsed) -> None:
    figure = report.figures["part0-samples"][0]
    assert [series["name"] for series in figure["series"]] == ["round 1", "round 2", "round 3"]
    first = figure["series"][0]
    assert first["y"][:2] + first["y"][-1:] == [0, 2, 100]
    assert (first["x"][0], first["x"][25], first["x"][-1]) == (10.99, 11, 11.01)


def test_each_row_has_its_samples(report: Parsed) -> None:
    assert report.data["tables"]["part0-table"]["samples"] == list(range(24))
    assert len(report.figures["part0-samples"]) == 24


def test_without_samples_the_page_says_so(db: Path, tmp_path: Path) -> None:
    other = tmp_path / "light.db"
    assert run(db, "db", "export", "--run", "2", "--no-samples", str(other)).exit_code == 0
    page = Parsed(written(other, "report"))
    assert "part0-samples" not in page.figures
    assert any("No samples of these cases are stored" in text for text in page.all("p"))


def test_what_has_no_time_is_told(tmp_path: Path) -> None:
    case = attn("q512")
    with Store.open(tmp_path / "results.db") as store:
        store_run(store, {case: failed(Status.REFUSED, "needs <SM100>; this is SM90")}, label="x")
    page = Parsed(written(tmp_path / "results.db", "report", "--run", "x"))
    assert page.all("li")[-1] == "refused: sdpa q512: needs <SM100>; this is SM90"
    assert not any(each.get("class") == "failures" for each in page.attributes("ul"))  # in red
    assert page.data == {"figures": {}, "tables": {}, "sections": {}, "pickers": {}}
    assert not page.attributes("table")


def test_a_page_of_fifty_rows_is_small(tmp_path: Path) -> None:
    cases = [
        attn(f"{size}q1kv{kv}k", b) for size in range(1, 6) for kv in range(1, 6) for b in "ab"
    ]
    with Store.open(tmp_path / "results.db") as store:
        store_run(store, {case: timed(case, 1e-3, 1.01e-3, 1.02e-3) for case in cases})
    assert len(written(tmp_path / "results.db", "report")) < 400_000


def test_the_terminal_shows_the_same_with_a_page(db: Path, tmp_path: Path) -> None:
    plain = run(db, "report", "--run", "2")
    paged = run(db, "report", "--run", "2", "--html", str(tmp_path / "p.html"))
    assert (paged.stdout, paged.stderr) == (plain.stdout, f"note: wrote {tmp_path / 'p.html'}\n")
    sides = ("diff", "--base", "1", "--head", "2")
    both = run(db, *sides, "--html", str(tmp_path / "d.html"))
    assert (both.exit_code, both.stdout) == (1, run(db, *sides).stdout)


@pytest.mark.parametrize("args", [["report"], ["diff", "--base", "1", "--head", "2"]])
def test_without_the_extra_one_sentence_says_what_to_install(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: Sequence[str]
) -> None:
    monkeypatch.setattr(page_module, "_NEEDED", ("jinja2", "no_such_package"))
    found = run(db, *args, "--html", str(tmp_path / "page.html"))
    assert found.exit_code == 2
    assert found.stderr == (
        "Error: --html needs no_such_package, from the extra html; install it, e.g. "
        "pip install 'attnbench[html]'\n"
    )
    assert not (tmp_path / "page.html").exists()


def test_lines_over_a_knob_are_told_apart(tmp_path: Path) -> None:
    backends = ("torch-absorbed", "torch-mha")
    cases = [mla("q4kv1k", backend, num_splits=n) for n in (1, 2, 4) for backend in backends]
    with Store.open(tmp_path / "results.db") as store:
        store_run(store, {case: timed(case, 1e-3) for case in cases})
    page = Parsed(written(tmp_path / "results.db", "report"))
    lines = page.data["sections"]["part0-plots"]["sweeps"][0]["lines"]
    assert [(line[0], line[1]) for line in lines] == [*zip(backends, (0, 1), strict=True)]
    assert any(text.startswith("batch q4kv1k, ") for text in page.all("p"))


def test_a_page_shows_what_the_conditions_leave(db: Path) -> None:
    page = Parsed(written(db, "report", "--run", "2", "--where", "backend=sdpa"))
    assert "12 cases measured; 3 rounds" in page.all("li")
    assert BACKEND not in str(page.data)


def test_single_rounds_and_single_samples_are_not_more_than_they_are(tmp_path: Path) -> None:
    """As results of other tools are: one time a case."""
    cases = [attn(f"{size}q1kv4k", name) for size in (1, 2, 4) for name in ("a", "b")]
    once = {case: [replace(timed(case, 1e-3)[0], samples=(1e-3,))] for case in cases}
    with Store.open(tmp_path / "results.db") as store:
        store_run(store, once)
    page = Parsed(written(tmp_path / "results.db", "report"))
    assert "quickest in single rounds of 3 workloads: a in 3" in page.all("li")
    assert "part0-samples" not in page.figures


def test_a_named_axis_has_a_tick_for_each_value() -> None:
    ticks = named_ticks([512, 4096, 1536, 512])
    assert ticks == [(512, "512"), (1536, "1536"), (4096, "4k")]


@pytest.mark.parametrize(
    "values", [["a", "b", "c"], ["a", "a", "a", "b"], ["a"] * 3, [1.5, None, 2.0], ["a"]]
)
def test_a_packed_column_has_the_values_it_had(values: list[str | float | None]) -> None:
    assert unpacked(json.loads(json.dumps(packed(values)))) == values


def test_dates_are_sorted_as_a_whole_and_not_by_their_year() -> None:
    columns = [
        Column("measured, UTC", ["2026-11-21 15:34", "2026-11-21 15:15"]),
        Column("latency\nus", ["12.5", "9.00"]),
    ]
    assert HtmlTable.of("versions", "Versions", columns).orders == [None, [12.5, 9.0]]
