"""The pages as a person meets them: in a real Chromium, without a network."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.reporting.html.page import PageData, render
from attnbench.reporting.html.table import Groups, HtmlTable
from attnbench.reporting.text_table import Column
from tests.chromium import (
    IN_CHROMIUM,
    PAPER,
    PATIENCE,
    axe_complaints,
    button,
    click,
    column,
    complaints,
    drawn,
    figures,
    on_paper,
    run,
    set_theme,
    show,
)
from tests.stored_pages import BACKEND, HOSTILE, store_pages, store_study
from tests.stored_results import attn, store_run, timed

pytestmark = IN_CHROMIUM

Open = Callable[..., Chrome]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    store_pages(folder / "pages.db")
    store_study(folder / "pages.db")
    commands = {
        "report": ["report", "--run", "2", "3"],
        "diff": ["diff", "--base", "1", "--head", "2"],
        "study": ["report", "--run", "study"],
        "gpus": ["diff", "--base", "gpu:H200", "--head", "gpu:H100"],
    }
    for name, args in commands.items():
        files = ["--db", str(folder / "pages.db"), "--html", str(folder / f"{name}.html")]
        found = CliRunner().invoke(cli, [*args, *files])
        assert found.exit_code in (0, 1), found.output
    return {name: folder / f"{name}.html" for name in commands}


@pytest.fixture
def opened(browser: Chrome, pages: dict[str, Path]) -> Open:
    """Open a page anew, 1280 pixels wide in a light theme if nothing else is said."""

    def open_page(name: str, *, width: int = 1280, theme: str = "light") -> Chrome:
        show(browser, pages[name], width=width, theme=theme)
        return browser

    return open_page


NAMES = pytest.mark.parametrize("name", ["report", "diff"])
EVERY = pytest.mark.parametrize("name", ["report", "diff", "study", "gpus"])


@NAMES
def test_a_page_opens_and_draws_all_plots_without_a_complaint(opened: Open, name: str) -> None:
    browser = opened(name)
    found = figures(browser)
    assert len(found) == {"report": 5, "diff": 2}[name]
    for figure in found:
        drawn(browser, figure)
    assert complaints(browser) == []


@EVERY
def test_a_page_fetches_nothing(opened: Open, name: str) -> None:
    browser = opened(name)
    for figure in figures(browser):
        drawn(browser, figure)
    script = "return performance.getEntriesByType('resource').map((each) => each.name)"
    assert [url for url in run(browser, script) if not url.startswith("data:")] == []


def test_a_column_is_sorted_up_then_down(opened: Open) -> None:
    browser = opened("report")
    times = column(browser, "latency")
    button(browser, "latency").click()
    assert column(browser, "latency") == sorted(times, key=float) != times
    button(browser, "latency").send_keys(Keys.ENTER)
    assert column(browser, "latency") == sorted(times, key=float, reverse=True)
    heads = browser.find_elements(By.CSS_SELECTOR, "table.sortable [aria-sort=descending]")
    assert [each.text.split()[0] for each in heads] == ["latency"]


def test_rows_come_back_by_workload_with_the_best_first(opened: Open) -> None:
    browser = opened("report")
    before = column(browser, "implementation")
    assert before[:4] == ["sdpa", BACKEND] * 2
    button(browser, "latency").click()
    assert column(browser, "implementation") != before
    click(browser, "button.fold")  # "By workload" while sorted
    click(browser, "button.fold")
    assert column(browser, "implementation") == before
    groups = browser.find_elements(By.CSS_SELECTOR, "tr.group button b")
    assert [each.text for each in groups[:3]] == ["q1kv1k", "q1kv2k", "q1kv4k"]


def test_a_workload_folds_and_unfolds(opened: Open) -> None:
    browser = opened("report")
    click(browser, "tr.group button")
    assert len(column(browser, "implementation")) == 22
    click(browser, "tr.group button")
    assert len(column(browser, "implementation")) == 24


def test_paper_has_all_rows_and_the_screen_has_its_folds_again(opened: Open) -> None:
    browser = opened("report")
    click(browser, "button.fold")
    assert column(browser, "implementation") == []
    run(browser, "dispatchEvent(new Event('beforeprint'))")
    assert len(column(browser, "implementation")) == 24
    run(browser, "dispatchEvent(new Event('afterprint'))")
    assert column(browser, "implementation") == []


def test_rows_without_a_number_stand_last(opened: Open) -> None:
    browser = opened("report")
    for _ in ("up", "down"):
        button(browser, "95 % interval").click()
        texts = column(browser, "95 % interval")
        assert texts[0] != "-"
    button(browser, "vs best").click()
    assert column(browser, "vs best")[:12] == ["best"] * 12


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("SDPA 2q1kv", 3),
        ("backend=sdpa kv_len>=2k", 8),
        ("num_requests<4 kv_len!=1024", 8),
        ("backend~^sd", 12),
        ("latency_us<20", 2),
        ("kv_len<=2k kv_len>1024", 8),
        (" ", 24),
    ],
)
def test_a_filter_takes_words_and_conditions(opened: Open, text: str, rows: int) -> None:
    browser = opened("report")
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys(text)
    shown = browser.find_element(By.CSS_SELECTOR, "output")
    assert shown.text == (f"{rows} of 24 rows" if rows < 24 else "24 rows")
    assert len(column(browser, "implementation")) == rows


def test_a_condition_on_an_unknown_field_names_the_known(opened: Open) -> None:
    browser = opened("report")
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("kvlen>1")
    text = browser.find_element(By.CSS_SELECTOR, "output").text
    assert text.startswith("no field kvlen; fields are ")
    assert "kv_len" in text


def test_a_column_can_be_limited(opened: Open) -> None:
    browser = opened("report")
    click(browser, "button.limits")
    field = browser.find_element(By.CSS_SELECTOR, "input[aria-label='Limit latency us']")
    field.send_keys("<20")
    assert all(float(text) < 20 for text in column(browser, "latency"))
    assert len(column(browser, "latency")) == 2


def test_the_address_holds_the_view(opened: Open, browser: Chrome) -> None:
    opened("report")
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("kv_len=2k")
    for _ in ("up", "down"):
        button(browser, "latency").click()
    click(browser, "[role=tab]", 1)
    texts, address = column(browser, "latency"), browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert column(browser, "latency") == texts
    assert len(texts) == 8
    drawn(browser, figures(browser)[0])
    tab = browser.find_element(By.CSS_SELECTOR, "[role=tab][aria-selected=true]")
    assert tab.text == "Latency"


def test_a_table_is_copied_as_it_is_shown(opened: Open) -> None:
    browser = opened("report")
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("backend=sdpa kv_len=4k")
    text = str(run(browser, "return tables[0].csv(',')"))
    lines = text.splitlines()
    assert lines[0].startswith("workload,implementation,vs best,95 % interval,latency us,")
    assert [line.split(",")[0] for line in lines[1:]] == [f"{n}q1kv4k" for n in ("", 2, 4, 8)]


@EVERY
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_about(opened: Open, name: str, theme: str) -> None:
    browser = opened(name, theme=theme)
    for figure in figures(browser):
        drawn(browser, figure)
    assert axe_complaints(browser) == []


def test_my_shape_is_answered(opened: Open) -> None:
    browser = opened("report")
    picker = browser.find_element(By.CSS_SELECTOR, ".picker")
    size, length = picker.find_elements(By.CSS_SELECTOR, ".fields input")
    for field, value in ((size, "7"), (length, "4k")):
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(value)
    result = picker.find_element(By.CSS_SELECTOR, ".result").text
    assert f"{BACKEND}, next 1.25x (nearest measured: 8q1kv4k)" in result
    assert re.search(r"sdpa 264 us 1\.25x \[1\.\d+ to 1\.\d+\]", result.replace("\n", " "))


def test_my_shape_begins_with_a_measured_one(browser: Chrome, tmp_path: Path) -> None:
    cases = [attn(batch, b) for batch in ("q16kv1040", "q32kv1056", "4q16kv4k") for b in "ab"]
    with Store.open(tmp_path / "results.db") as store:
        store_run(store, {case: timed(case, 1e-3, 1.01e-3, 1.02e-3) for case in cases})
    files = ["--db", str(tmp_path / "results.db"), "--html", str(tmp_path / "page.html")]
    assert CliRunner().invoke(cli, ["report", *files]).exit_code == 0
    browser.get((tmp_path / "page.html").as_uri())
    assert "(measured: " in browser.find_element(By.CSS_SELECTOR, ".picker .result").text


def test_another_view_draws_another_plot(opened: Open) -> None:
    browser = opened("report")
    figure = drawn(browser, browser.find_element(By.ID, "part0-plots"))
    assert figure.find_element(By.CSS_SELECTOR, ".xlabel").text == "batch size"
    Select(figure.find_element(By.TAG_NAME, "select")).select_by_visible_text("batch size 4")
    assert figure.find_element(By.CSS_SELECTOR, ".xlabel").text == "kv_len"


@NAMES
def test_a_rows_button_shows_its_samples(opened: Open, name: str) -> None:
    browser = opened(name)
    click(browser, "button.samples[data-choice='5']")
    figure = drawn(browser, browser.find_element(By.ID, "part0-samples"))
    chosen = Select(figure.find_element(By.TAG_NAME, "select")).first_selected_option
    assert chosen.get_attribute("value") == "5"


def test_a_winner_map_says_who_wins_in_words(opened: Open) -> None:
    squares = opened("report").find_elements(By.CSS_SELECTOR, "#part0 table.map .square b")
    assert {each.text for each in squares} == {"sdpa", BACKEND}


@NAMES
def test_markup_in_names_is_shown_as_text(opened: Open, name: str) -> None:
    browser = opened(name)
    assert HOSTILE in browser.find_element(By.TAG_NAME, "main").text
    assert browser.find_elements(By.CSS_SELECTOR, "main b b, i, dd b, h1 b") == []
    texts = {
        text.text
        for figure in figures(browser)
        for text in drawn(browser, figure).find_elements(
            By.CSS_SELECTOR, ".legend button, .tick, .point"
        )
    }
    assert name == "diff" or BACKEND in texts


@NAMES
def test_a_dark_theme_darkens_the_plots_too(opened: Open, name: str) -> None:
    browser = opened(name)
    figure = drawn(browser, figures(browser)[0])
    ink = "return getComputedStyle(document.body).color"
    fill = "return getComputedStyle(arguments[0].querySelector('.xlabel')).fill"
    light = run(browser, ink)
    assert run(browser, fill, figure) == light
    set_theme(browser, "dark")
    wait = WebDriverWait(browser, PATIENCE)
    wait.until(lambda _: run(browser, fill, figure) == run(browser, ink) != light)
    paper = run(browser, "return getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", paper))) < 60


PLACES = """
const found = [];
for (const svg of document.querySelectorAll('.drawing')) {
  const middle = (each) => { const box = each.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
  const ticks = (kind) => [...svg.querySelectorAll('.tick.' + kind)].map((tick) => {
    const box = tick.getBoundingClientRect();
    return [Number(tick.dataset.value), ...middle(tick), box.width, box.height];
  });
  const points = [...svg.querySelectorAll('.point')].map((point) => [Number(point.dataset.x), Number(point.dataset.y), ...middle(point)]);
  found.push([ticks('xtick'), ticks('ytick'), points]);
}
return found;
"""  # noqa: E501


def places(browser: Chrome) -> list[Any]:
    """Of each plot its ticks (value, x, y, width, height) and points (x and y, x and y on screen).

    All plots are drawn first.
    """
    for figure in figures(browser):
        drawn(browser, figure)
    return list(run(browser, PLACES))


def off(ticks: Sequence[Sequence[float]], at: int, values: Iterable[tuple[float, float]]) -> float:
    """By how many pixels the points lie off the ticks' scale, linear or logarithmic."""
    found = []
    for place in (float, math.log10):
        try:
            first, last = (place(ticks[n][0]) for n in (0, -1))
            slope = (ticks[-1][at] - ticks[0][at]) / (last - first)
            scale = [ticks[0][at] + slope * (place(value) - first) for value, _ in values]
        except ValueError:
            continue  # a logarithm of 0
        pairs = zip(scale, (seen for _, seen in values), strict=True)
        found.append(max((abs(a - b) for a, b in pairs), default=0.0))
    return min(found)


def check_scales(browser: Chrome) -> int:
    """Assert that points stand where the ticks say, and that no ticks collide; count points."""
    count = 0
    for x_ticks, y_ticks, points in places(browser):
        for at, ticks in ((1, x_ticks), (2, y_ticks)):
            extent = sorted((t[at] - t[at + 2] / 2, t[at] + t[at + 2] / 2) for t in ticks)
            assert all(end <= start + 3 for (_, end), (start, _) in pairwise(extent))
        if len(x_ticks) > 1 and len(y_ticks) > 1:
            assert off(x_ticks, 1, [(p[0], p[2]) for p in points]) < 2
            assert off(y_ticks, 2, [(p[1], p[3]) for p in points]) < 4
            count += len(points)
    return count


@NAMES
def test_points_stand_where_the_ticks_say_whatever_happens(opened: Open, name: str) -> None:
    browser = opened(name)
    assert check_scales(browser) > 20
    set_theme(browser, "dark")
    check_scales(browser)
    browser.execute_cdp_cmd("Page.printToPDF", {})
    run(browser, "dispatchEvent(new Event('beforeprint')); dispatchEvent(new Event('afterprint'))")
    check_scales(browser)
    size = {"width": 500, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wait = WebDriverWait(browser, PATIENCE)
    drawn_for = "return document.querySelector('.canvas svg').viewBox.baseVal.width"
    wait.until(lambda _: run(browser, drawn_for) < 500)
    check_scales(browser)


@pytest.mark.parametrize("width", [200, 300, 700, 1600])
@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(
    ("low", "high"), [(1, 1.02), (9.7, 10.4), (1, 9), (0.5, 5000), (1e-3, 1e6), (900, 40_000)]
)
def test_ticks_are_few_enough_to_read_and_more_than_one(
    opened: Open, low: float, high: float, log: bool, width: int
) -> None:
    script = """const [low, high, width, log] = arguments;
        const scale = scaleOf({ log }, [low, high], 0, width);
        return scale.ticks.map(([value, text]) => [scale.at(value), text]);"""
    ticks = run(opened("report"), script, low, high, width, log)
    assert len(ticks) > 1
    ends = [(at - 3.4 * len(text), at + 3.4 * len(text)) for at, text in ticks]
    assert all(end < start for (_, end), (start, _) in pairwise(ends))
    assert len({text for _, text in ticks}) == len(ticks)


def test_a_plot_with_a_row_per_case_names_them(opened: Open) -> None:
    browser = opened("diff")
    figure = drawn(browser, browser.find_element(By.ID, "part0-changes"))
    names = [each.text for each in figure.find_elements(By.CSS_SELECTOR, ".ytick")]
    assert len(names) == 24
    assert any(name.startswith("sdpa 8q1kv4k") for name in names)


@pytest.mark.parametrize(
    ("name", "last"), [("diff", "95 % interval"), ("gpus", "foreseen"), ("report", "vs best")]
)
def test_a_phone_shows_by_how_much_and_how_sure(opened: Open, name: str, last: str) -> None:
    browser = opened(name, width=390)
    box = run(browser, "return arguments[0].getBoundingClientRect()", button(browser, last))
    assert 0 <= box["left"] < box["right"] <= 390


@NAMES
def test_a_phone_scrolls_tables_and_never_the_page(opened: Open, name: str) -> None:
    browser = opened(name, width=390)
    for figure in figures(browser):
        drawn(browser, figure)
    assert run(browser, "return document.documentElement.scrollWidth") == 390
    box = browser.find_element(By.CSS_SELECTOR, ".results .scroll")
    assert run(browser, "return arguments[0].scrollWidth > arguments[0].clientWidth", box)
    for canvas in browser.find_elements(By.CSS_SELECTOR, ".canvas"):
        assert canvas.size["width"] <= 390


@pytest.mark.parametrize("width", [390, 1400])
def test_a_crossover_is_marked_where_its_interval_is(opened: Open, width: int) -> None:
    browser = opened("report", width=width)
    figure = drawn(browser, browser.find_element(By.ID, "part0-plots"))
    mark = figure.find_element(By.CSS_SELECTOR, ".crossover")
    ticks = {tick.text: tick.rect for tick in figure.find_elements(By.CSS_SELECTOR, ".xtick")}
    band = mark.find_element(By.CSS_SELECTOR, ".between").rect
    ends = [ticks[text]["x"] + ticks[text]["width"] / 2 for text in ("2", "4")]
    assert [band["x"], band["x"] + band["width"]] == pytest.approx(ends, abs=2)
    words = mark.find_element(By.TAG_NAME, "text")
    assert re.fullmatch(r"2\.\d+ \[2, 4\]", words.text.removeprefix(f"{BACKEND} from "))
    canvas = figure.find_element(By.CLASS_NAME, "canvas").rect
    assert canvas["x"] <= words.rect["x"]
    assert words.rect["x"] + words.rect["width"] <= canvas["x"] + canvas["width"]


def test_a_value_beyond_what_was_measured_is_an_arrow_without_a_line(opened: Open) -> None:
    browser = opened("report")
    script = """const ends = { low: [2, 3, 5], high: [4, 5, null] };
        const series = { name: "a", slot: 0, x: [1, 2, 4], y: [3, 4, 5], ...ends, line: true };
        const canvas = document.querySelector(".canvas");
        plot(canvas, { x: { label: "" }, y: { label: "" }, series: [series] });
        return [".line", ".bars"].map((each) => canvas.querySelector(each).getAttribute("d"));"""
    line, bars = run(browser, script)
    assert line.count("L") == 1  # between the two that are known
    assert bars.count("H") == 0
    assert re.findall(r"v(-?\d+)l", bars) == ["-24"]


@EVERY
def test_nothing_is_cut_off_on_paper(opened: Open, name: str) -> None:
    assert on_paper(opened(name)) <= PAPER


def large_page(rows: int) -> str:
    """A page with one table of rows in groups of five."""
    listed = range(rows)
    columns = [
        Column("implementation", [f"backend-{row % 5}" for row in listed], left=True),
        Column(
            "vs\nbest", ["best" if row % 5 == 0 else f"{1 + row % 5 / 10:.2f}x" for row in listed]
        ),
        *(
            Column(f"column {n}", [f"{(row * 7919 + n) % rows}" for row in listed])
            for n in range(9)
        ),
    ]
    table = HtmlTable.of("large", "Results", columns)
    names = [f"{group}q1kv1k" for group in range(rows // 5)]
    table = replace(table, groups=Groups(names, names, [row // 5 for row in listed]))
    part = {
        "key": "p",
        "title": "t",
        "shared": "",
        "table": table,
        "changes": None,
        "samples": None,
    }
    texts = ("kernels", "suspects", "summary", "commands", "leftovers", "fingerprints")
    values = {"parts": [part], "counts": {}, "sides": {}, "sentence": ""}
    return render("diff.html", PageData(tables=[table]), values | dict.fromkeys(texts, ()))


def test_ten_thousand_rows_open_and_sort_at_once(browser: Chrome, tmp_path: Path) -> None:
    """Times are of the browser's own clock, the least of three, since the machine may be busy."""
    (tmp_path / "large.html").write_text(large_page(10_000))
    loaded, sorted_in = [], []
    for _ in range(3):
        browser.get((tmp_path / "large.html").as_uri())
        timing = "const t = performance.timing; return t.loadEventEnd - t.navigationStart"
        loaded.append(run(browser, timing))
        sort = """const t = performance.now(); tables[0].sortBy(4); document.body.offsetHeight;
            return performance.now() - t"""
        sorted_in.append(run(browser, sort))
    assert min(loaded) < 3000
    assert min(sorted_in) < 300
    assert run(browser, "return document.querySelectorAll('tbody tr').length") < 400
    assert column(browser, "column 2")[0] == "0"
    run(browser, "tables[0].scroll.scrollTop = 1e9; tables[0].draw()")
    assert column(browser, "column 2")[-1] == "9999"
    assert run(browser, "return tables[0].csv(',').split('\\n').length") == 10_001
