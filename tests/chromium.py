"""A real Chromium for tests, without a network, and what it shows of a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage
--disable-background-networking --disable-component-update --disable-sync
"""
PATIENCE = 120  # seconds; a busy machine draws slowly
PAPER = 718  # pixels across A4 between its margins

IN_CHROMIUM = [
    pytest.mark.html,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="needs Chromium and its driver, e.g. apt-get install chromium chromium-driver",
    ),
]


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser with this folder for its own files."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(PATIENCE)
    try:
        yield driver
    finally:
        driver.quit()


def show(browser: Chrome, page: Path, *, width: int = 1280, theme: str = "light") -> None:
    """Open a page anew and forget what the console has said before."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    set_theme(browser, theme)
    complaints(browser)
    browser.get(page.as_uri())


def set_theme(browser: Chrome, theme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})


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
    marks = ".point, .line"
    wait = WebDriverWait(browser, PATIENCE)
    wait.until(lambda _: figure.find_elements(By.CSS_SELECTOR, marks))
    return figure


def column(browser: Chrome, head: str) -> list[str]:
    """The texts of a column of the first table that are shown, from the top."""
    table = browser.find_element(By.CSS_SELECTOR, "table.sortable")
    heads = [each.text for each in table.find_elements(By.CSS_SELECTOR, "thead th")]
    at = next(i for i, text in enumerate(heads) if text.startswith(head))
    texts = """return [...arguments[0].querySelectorAll('tbody tr:not(.group):not(.space)')]
        .map((row) => row.cells[arguments[1]].textContent)"""
    return [str(text) for text in run(browser, texts, table, at)]


def button(browser: Chrome, head: str) -> WebElement:
    """The button in the head of a column of the first table."""
    table = browser.find_element(By.CSS_SELECTOR, "table.sortable")
    buttons = table.find_elements(By.CSS_SELECTOR, "thead button")
    return next(each for each in buttons if each.text.startswith(head))


def click(browser: Chrome, selector: str, which: int = 0) -> None:
    run(browser, "document.querySelectorAll(arguments[0])[arguments[1]].click()", selector, which)


def on_paper(browser: Chrome) -> int:
    """The width in pixels that the page takes when it is printed."""
    size = {"width": PAPER, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    run(browser, "dispatchEvent(new Event('beforeprint'))")
    width = int(run(browser, "return document.documentElement.scrollWidth"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    return width


def axe_complaints(browser: Chrome) -> list[str]:
    """The rules of accessibility that the page breaks, with the first element of each."""
    axe = pytest.importorskip("axe_core_python")
    run(browser, (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    check = """const told = (each) => `${each.id}: ${each.nodes[0].html}`;
        axe.run().then((found) => arguments[0](found.violations.map(told)))"""
    return list(browser.execute_async_script(check))
