"""The pages of a site as a person meets them: in a real Chromium, from a disk."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from attnbench.cli import cli
from tests.chromium import (
    IN_CHROMIUM,
    PAPER,
    axe_complaints,
    button,
    column,
    complaints,
    drawn,
    figures,
    on_paper,
    run,
    show,
)
from tests.stored_pages import CASE, store_commits

pytestmark = IN_CHROMIUM

Open = Callable[..., Chrome]
PAGES = {
    "index": "index",
    "list": "list/nvidia-h200-attn",
    "case": f"case/{CASE.key[:12]}-nvidia-h200",
    "regressions": "regressions",
    "gpus": "gpus",
}
EACH = pytest.mark.parametrize("name", list(PAGES))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    store_commits(folder / "s.db")
    words = ["site", str(folder / "public"), "--db", str(folder / "s.db")]
    assert CliRunner().invoke(cli, words).exit_code == 0
    return folder / "public"


@pytest.fixture
def opened(browser: Chrome, site: Path) -> Open:
    """Open a page of the site, with its plots drawn."""

    def open_page(name: str, *, width: int = 1280, theme: str = "light") -> Chrome:
        show(browser, site / f"{PAGES[name]}.html", width=width, theme=theme)
        for figure in figures(browser):
            drawn(browser, figure)
        return browser

    return open_page


@EACH
def test_a_page_reads_only_the_sites_own_files(opened: Open, site: Path, name: str) -> None:
    browser = opened(name)
    assert complaints(browser) == []
    fetched = "return performance.getEntriesByType('resource').map((each) => each.name)"
    assert all(url.startswith(site.as_uri()) for url in run(browser, fetched))


@EACH
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_about(opened: Open, name: str, theme: str) -> None:
    assert axe_complaints(opened(name, theme=theme)) == []


@EACH
def test_a_dark_theme_darkens_all_of_a_page(opened: Open, name: str) -> None:
    browser = opened(name, theme="dark")
    pale = """return [...document.querySelectorAll('body, .scroll, figure, .tiles li, input')]
        .map((each) => getComputedStyle(each).backgroundColor.match(/\\d+/g).map(Number))
        .filter(([red, green, blue, opaque]) => opaque !== 0 && Math.max(red, green, blue) > 70)"""
    assert run(browser, pale) == []


@EACH
def test_nothing_is_cut_off_on_paper(opened: Open, name: str) -> None:
    assert on_paper(opened(name)) <= PAPER


@EACH
def test_a_phone_scrolls_tables_and_never_the_page(opened: Open, name: str) -> None:
    browser = opened(name, width=390)
    assert run(browser, "return document.documentElement.scrollWidth") == 390


def test_a_phone_shows_by_how_much_a_case_got_slower(opened: Open) -> None:
    browser = opened("regressions", width=390)
    box = run(browser, "return arguments[0].getBoundingClientRect()", button(browser, "95 %"))
    assert 0 <= box["left"] < box["right"] <= 390


def test_a_list_leads_to_the_page_of_each_case(opened: Open) -> None:
    browser = opened("list")
    assert column(browser, "case") == ["naive q512", "sdpa 8q1kv1k"]
    browser.find_element(By.LINK_TEXT, "sdpa 8q1kv1k").click()
    assert browser.find_element(By.TAG_NAME, "h1").text == "attn sdpa 8q1kv1k"
    assert column(browser, "version") == [letter * 9 for letter in "abcd"]
