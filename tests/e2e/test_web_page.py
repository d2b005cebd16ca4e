"""The status page of a real run in a real browser."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed (make test installs it)")
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from helpers.cameras import LIVE_DEMO, CamerasProcess
from helpers.streams import until
from helpers.web_run import Run
from maskedge.history.records import Count, Series
from maskedge.history.store import Store


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with a profile of its own."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed (Debian packages chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


UNKNOWN = "\N{EN DASH}"


def show(browser: webdriver.Chrome, run: Run, width: int = 1280, scheme: str = "light") -> None:
    """Open the page and wait for its first data."""
    browser.get_log("browser")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    size: dict[str, Any] = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(run.sink.url)
    until(lambda: words(browser, "state") == "Running")


def words(browser: webdriver.Chrome, identity: str) -> str:
    """Return the text of an element."""
    return str(browser.find_element(By.ID, identity).text)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """A run that serves its picture."""
    with Run(picture=True) as started:
        until(lambda: started.frames > 30)
        yield started


def test_picture_counts_and_chart_are_shown(browser: webdriver.Chrome, run: Run) -> None:
    show(browser, run)
    until(lambda: browser.execute_script("return document.getElementById('picture').naturalWidth") == 640)

    def texts(selector: str) -> list[str]:
        """In one call, because the page is redrawn every second."""
        found: list[str] = browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((part) => part.innerText.trim())", selector
        )
        return found

    assert texts("#counts li .word") == ["With a mask", "Without a mask", "Mask worn incorrectly"]
    # Colour is not the only signal: each label has its own symbol, and its own dashes in the chart.
    assert len(set(texts("#counts li .mark"))) == 3
    series = "[...document.querySelectorAll('#chart path.series')]"
    lines = browser.execute_script(f"return {series}.map(p => [p.getAttribute('stroke-dasharray'), p.getAttribute('d')])")
    assert len({dashes for dashes, _ in lines}) == 3
    assert all(path for _, path in lines)
    until(lambda: any(text.split()[0] != "0" for text in texts("#counts .number")))
    assert "door" in words(browser, "zones")
    assert not browser.get_log("browser")


def test_no_other_host_is_contacted(browser: webdriver.Chrome, run: Run) -> None:
    show(browser, run)
    origins = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)")
    assert set(origins) == {run.sink.url.rstrip("/")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_it_fits_every_width(browser: webdriver.Chrome, run: Run, width: int, scheme: str) -> None:
    show(browser, run, width, scheme)
    until(lambda: browser.execute_script("return document.getElementById('picture').naturalWidth") > 0)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    colour = browser.execute_script("return getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}[scheme]
    assert not browser.get_log("browser")


def test_the_chart_is_read_with_the_keyboard(browser: webdriver.Chrome, run: Run) -> None:
    show(browser, run)
    chart = browser.find_element(By.ID, "chart")
    browser.execute_script("arguments[0].focus()", chart)
    browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    until(lambda: "with a mask" in words(browser, "reading"))
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(lambda: "per minute" in words(browser, "reading"))


def test_without_the_picture_it_explains_why(browser: webdriver.Chrome) -> None:
    with Run() as run:
        until(lambda: run.frames > 30)
        show(browser, run, 390)
        assert "to protect people" in words(browser, "scheme")
        until(lambda: browser.find_elements(By.CSS_SELECTOR, "#crowd .mark"))
        assert not browser.find_element(By.ID, "live").is_displayed()
        assert not browser.get_log("browser")


def test_a_lost_camera_and_an_unreachable_device_are_shown(browser: webdriver.Chrome) -> None:
    with Run(picture=True) as run:
        until(lambda: run.frames > 5)
        show(browser, run)
        run.lose()
        until(lambda: words(browser, "state") == "Camera lost")
        assert "No frames from the camera" in words(browser, "banners")
        assert "3 attempts" in words(browser, "banners")
        assert "The cable is out" in words(browser, "banners")
        # The people in view are unknown; the people so far are known.
        assert {one.text for one in browser.find_elements(By.CSS_SELECTOR, "#counts .number, #zones td")} == {UNKNOWN}
        assert UNKNOWN not in words(browser, "people")
        until(lambda: "Camera lost" in words(browser, "recent"))
        run.sink.close()
        until(lambda: words(browser, "state") == "Unreachable")
        assert "The device is unreachable" in words(browser, "banners")


def test_counts_are_unknown_before_the_first_frame(browser: webdriver.Chrome) -> None:
    with Run(frames=False) as run:
        run.state.set_source("lost", "the cable is out", 3)
        browser.get_log("browser")
        browser.get(run.sink.url)
        until(lambda: words(browser, "state") == "Camera lost")
        figures = browser.find_elements(By.CSS_SELECTOR, "#counts .number, #people .value")
        assert len(figures) == 6
        assert {one.text for one in figures} == {UNKNOWN}
        assert browser.find_element(By.CSS_SELECTOR, "#chart .empty").get_attribute("textContent") == "No data yet"
        assert "no data yet" in str(browser.find_element(By.ID, "chart").get_attribute("aria-label"))
        assert "NaN" not in browser.find_element(By.TAG_NAME, "body").text
        assert not browser.get_log("browser")


def test_it_reconnects_by_itself(browser: webdriver.Chrome) -> None:
    with Run() as run:
        show(browser, run)
        port = run.address[1]
    until(lambda: words(browser, "state") == "Unreachable")
    with Run(serve=f"127.0.0.1:{port}"):
        until(lambda: words(browser, "state") == "Running")
        assert words(browser, "banners") == ""


def test_foreign_names_are_escaped(browser: webdriver.Chrome) -> None:
    with Run(frames=False) as run:
        run.state.set_source("open")
        run.state.add_frame([], {"total": 1.0}, (640, 480), zones={"<img src=x onerror=alert(1)>": {"with_mask": 1}})
        show(browser, run)
        assert "<img src=x" in words(browser, "zones")
        assert not browser.get_log("browser")


def test_one_of_several_cameras_is_chosen(browser: webdriver.Chrome, tmp_path: Path) -> None:
    tables = "".join(f"[[camera]]\nname = '{name}'\n{LIVE_DEMO}" for name in ("door", "T\u00fcr 2"))
    with CamerasProcess(tmp_path, tables + "[camera.web]\npicture = false\n") as cameras:
        cameras.wait_open("door", "T\u00fcr 2")
        browser.get(cameras.url)
        until(lambda: words(browser, "state") == "Running")
        assert words(browser, "camera").split("\n") == ["door", "T\u00fcr 2"]
        until(lambda: browser.execute_script("return document.getElementById('picture').naturalWidth") == 640)
        Select(browser.find_element(By.ID, "camera")).select_by_visible_text("T\u00fcr 2")
        until(lambda: "camera=T%C3%BCr%202" in browser.current_url and words(browser, "state") == "Running")
        assert Select(browser.find_element(By.ID, "camera")).first_selected_option.text == "T\u00fcr 2"
        assert not browser.find_element(By.ID, "live").is_displayed(), "its picture is not served"
        assert cameras.end() == 143


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of two cameras over the last two days, with a gap of three hours."""
    path = tmp_path_factory.mktemp("history") / "history.sqlite3"
    store, now = Store(path), time.time()
    for minute in range(2 * 1440):
        if 300 < minute < 480:
            continue
        for camera, masked in (("door", 45.0), ("<b>hall</b>", 15.0)):
            series = Series(camera)
            counts = [Count(series, 60.0), Count(series._replace(label="with_mask"), masked, 1)]
            store.add(now - 60 * minute, [*counts, Count(series._replace(label="without_mask"), 15.0)])
    store.close()
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_history_fits_every_width(browser: webdriver.Chrome, history: Path, width: int, scheme: str) -> None:
    with Run(history=history) as run:
        until(lambda: run.frames > 5)
        show(browser, run, width, scheme)
        until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#history-card canvas")) == 2)
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        rows = words(browser, "history-rows")
        assert "<b>hall</b> 50%" in rows
        assert "door 75%" in rows
        assert not browser.get_log("browser")


def test_the_history_has_spans_cameras_and_a_reading(browser: webdriver.Chrome, history: Path) -> None:
    with Run(history=history) as run:
        until(lambda: run.frames > 5)
        show(browser, run)
        until(lambda: "By hour" in words(browser, "history-reading"))
        for span, bucket in (("hour", "minute"), ("week", "hour"), ("month", "day")):
            browser.execute_script(f"document.querySelector('[data-span={span}]').click()")
            until(lambda bucket=bucket: f"By {bucket}" in words(browser, "history-reading"))
            assert browser.find_element(By.CSS_SELECTOR, "#spans [aria-pressed=true]").text.lower() == span
        chart = browser.find_element(By.ID, "history-faces")
        browser.execute_script("arguments[0].focus()", chart)
        browser.switch_to.active_element.send_keys(Keys.END)
        until(lambda: "67% with a mask" in words(browser, "history-reading"))
        assert "new people" in words(browser, "history-reading")
        browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        choice = Select(browser.find_element(By.ID, "history-camera"))
        assert [option.text for option in choice.options] == ["All", "<b>hall</b>", "door"]
        choice.select_by_visible_text("door")
        until(lambda: words(browser, "history-rows").startswith("door 75%"))
        address = str(browser.find_element(By.ID, "history-csv").get_attribute("href"))
        assert "camera=door" in address
        assert b"door" in run.get(address.removeprefix(run.sink.url.rstrip("/")))[2]
        assert not browser.get_log("browser")


def test_a_history_without_counts_says_so(browser: webdriver.Chrome, tmp_path: Path) -> None:
    Store(tmp_path / "history.sqlite3").close()
    with Run(history=tmp_path / "history.sqlite3") as run:
        until(lambda: run.frames > 5)
        show(browser, run)
        until(lambda: "No data yet" in words(browser, "history-reading"))
        assert not browser.find_elements(By.CSS_SELECTOR, "#history-card canvas")
        (tmp_path / "history.sqlite3").write_bytes(b"no database" * 1000)
        browser.execute_script("document.querySelector('[data-span=hour]').click()")
        until(lambda: "is damaged" in words(browser, "history-reading"))


def test_without_a_history_the_page_has_no_section_for_it(browser: webdriver.Chrome, run: Run) -> None:
    show(browser, run)
    assert not browser.find_element(By.ID, "history-card").is_displayed()
    assert not browser.execute_script("return 'uPlot' in window")
