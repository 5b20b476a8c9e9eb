"""The pages as a person meets them: in a real Chromium, without a network."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from attnbench.cli import cli
from tests.stored_pages import BACKEND, HOSTILE, store_pages

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage
--disable-background-networking --disable-component-update --disable-sync
"""
PATIENCE = 120  # seconds; a busy machine draws slowly

pytestmark = [
    pytest.mark.html,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="needs Chromium and its driver, e.g. apt-get install chromium chromium-driver",
    ),
]

Open = Callable[..., Chrome]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    store_pages(folder / "pages.db")
    commands = {"report": ["--run", "2", "3"], "diff": ["--base", "1", "--head", "2"]}
    for name, args in commands.items():
        files = ["--db", str(folder / "pages.db"), "--html", str(folder / f"{name}.html")]
        found = CliRunner().invoke(cli, [name, *args, *files])
        assert found.exit_code in (0, 1), found.output
    return {name: folder / f"{name}.html" for name in commands}


@pytest.fixture
def opened(browser: Chrome, pages: dict[str, Path]) -> Open:
    """Open a page anew, 1280 pixels wide in a light theme if nothing else is said."""

    def open_page(name: str, *, width: int = 1280, theme: str = "light") -> Chrome:
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        set_theme(browser, theme)
        complaints(browser)
        browser.get(pages[name].as_uri())
        return browser

    return open_page


def set_theme(browser: Chrome, theme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def run(browser: Chrome, script: str, *args: object) -> Any:
    return browser.execute_script(script, *args)


def complaints(browser: Chrome) -> list[Any]:
    """What the console has said since the last time."""
    return list(browser.get_log("browser"))  # type: ignore[no-untyped-call]


def figures(browser: Chrome) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, "figure.plot")


def drawn(browser: Chrome, figure: WebElement) -> WebElement:
    """The figure once it was scrolled to and shows lines or points."""
    run(browser, "arguments[0].scrollIntoView({block: 'center'})", figure)
    marks = "path.point, path.js-line"
    wait = WebDriverWait(browser, PATIENCE)
    wait.until(lambda _: figure.find_elements(By.CSS_SELECTOR, marks))
    return figure


def column(browser: Chrome, head: str, which: int = 0) -> list[str]:
    """The texts of a column of the first table that are shown, from the top.

    Of several columns of one name it is the one that `which` counts.
    """
    table = browser.find_element(By.CSS_SELECTOR, "table.sortable")
    heads = [each.text for each in table.find_elements(By.CSS_SELECTOR, "thead th")]
    at = [i for i, text in enumerate(heads) if text.startswith(head)][which]
    rows = table.find_elements(By.CSS_SELECTOR, "tbody tr")
    return [row.find_elements(By.XPATH, "*")[at].text for row in rows if row.is_displayed()]


def button(browser: Chrome, head: str, which: int = 0) -> WebElement:
    """The button in the head of a column of the first table."""
    table = browser.find_element(By.CSS_SELECTOR, "table.sortable")
    buttons = table.find_elements(By.CSS_SELECTOR, "thead button")
    return [each for each in buttons if each.text.startswith(head)][which]


NAMES = pytest.mark.parametrize("name", ["report", "diff"])


@NAMES
def test_a_page_opens_and_draws_all_plots_without_a_complaint(opened: Open, name: str) -> None:
    browser = opened(name)
    found = figures(browser)
    assert len(found) == {"report": 7, "diff": 2}[name]
    for figure in found:
        drawn(browser, figure)
    assert complaints(browser) == []


@NAMES
def test_a_page_fetches_nothing_and_offers_to_upload_nothing(opened: Open, name: str) -> None:
    browser = opened(name)
    for figure in figures(browser):
        drawn(browser, figure)
    script = "return performance.getEntriesByType('resource').map((each) => each.name)"
    assert [url for url in run(browser, script) if not url.startswith("data:")] == []
    buttons = browser.find_elements(By.CSS_SELECTOR, ".modebar-btn")
    titles = {each.get_attribute("data-title") for each in buttons}
    assert titles == {"Download plot as a PNG", "Zoom", "Pan", "Reset axes"}


def test_a_column_is_sorted_up_then_down(opened: Open) -> None:
    browser = opened("report")
    times = column(browser, "latency")
    button(browser, "latency").click()
    assert column(browser, "latency") == sorted(times, key=float) != times
    button(browser, "latency").send_keys(Keys.ENTER)
    assert column(browser, "latency") == sorted(times, key=float, reverse=True)
    heads = browser.find_elements(By.CSS_SELECTOR, "table.sortable [aria-sort=descending]")
    assert [each.text.split()[0] for each in heads] == ["latency"]


def test_batches_are_sorted_by_their_tokens(opened: Open) -> None:
    browser = opened("report")
    button(browser, "spec").click()
    specs = list(dict.fromkeys(column(browser, "spec")))
    assert specs[:4] == ["q1kv1k", "q1kv2k", "q1kv4k", "2q1kv1k"]


def test_rows_without_a_number_stand_last(opened: Open) -> None:
    browser = opened("report")
    for _ in ("up", "down"):
        button(browser, "+- %", -1).click()
        texts = column(browser, "+- %", -1)
        assert texts[0] != "-"
        assert texts[-12:] == ["-"] * 12  # the best have nothing to be compared with


def test_a_filter_leaves_the_rows_that_hold_all_words(opened: Open) -> None:
    browser = opened("report")
    field = browser.find_element(By.CSS_SELECTOR, "input[type=search]")
    field.send_keys("SDPA 2q1kv")
    assert column(browser, "spec") == ["2q1kv1k", "2q1kv2k", "2q1kv4k"]
    assert set(column(browser, "backend")) == {"sdpa"}
    shown = browser.find_element(By.CSS_SELECTOR, "output")
    assert shown.text == "3 of 24 rows"
    field.clear()
    field.send_keys(" ")
    assert shown.text == "24 rows"


def test_another_view_draws_another_plot(opened: Open) -> None:
    browser = opened("report")
    figure = drawn(browser, browser.find_element(By.ID, "part0-latency"))
    assert figure.find_element(By.CSS_SELECTOR, ".xtitle").text == "batch size"
    Select(figure.find_element(By.TAG_NAME, "select")).select_by_visible_text("batch size 4")
    wait = WebDriverWait(browser, PATIENCE)
    wait.until(lambda _: figure.find_element(By.CSS_SELECTOR, ".xtitle").text == "kv_len")


@NAMES
def test_a_rows_button_shows_its_samples(opened: Open, name: str) -> None:
    browser = opened(name)
    browser.find_element(By.CSS_SELECTOR, "button.samples[data-choice='5']").click()
    figure = drawn(browser, browser.find_element(By.ID, "part0-samples"))
    chosen = Select(figure.find_element(By.TAG_NAME, "select")).first_selected_option
    assert chosen.get_attribute("value") == "5"


def test_a_winner_map_says_who_wins_in_words(opened: Open) -> None:
    squares = opened("report").find_elements(By.CSS_SELECTOR, "table.map .square b")
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
            By.CSS_SELECTOR, ".legendtext, .ytick text"
        )
    }
    assert any(BACKEND in text for text in texts)


@NAMES
def test_a_dark_theme_darkens_the_plots_too(opened: Open, name: str) -> None:
    browser = opened(name)
    figure = drawn(browser, figures(browser)[0])
    ink = "return getComputedStyle(document.body).color"
    fill = "return getComputedStyle(arguments[0].querySelector('.xtitle')).fill"
    light = run(browser, ink)
    assert run(browser, fill, figure) == light
    set_theme(browser, "dark")
    wait = WebDriverWait(browser, PATIENCE)
    wait.until(lambda _: run(browser, fill, figure) == run(browser, ink) != light)
    paper = run(browser, "return getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", paper))) < 60


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
