"""The status page of a real run in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("selenium", reason="selenium is not installed (make test installs it)")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from helpers.browsers import fits, resize, texts, words
from helpers.cameras import LIVE_DEMO, CamerasProcess
from helpers.streams import until
from helpers.web_run import Run
from maskedge.config import load_config
from maskedge.history.records import Count, Series
from maskedge.history.store import Store
from maskedge.tracking.lines import parse_lines
from maskedge.zones import Zones

UNKNOWN = "\N{EN DASH}"
HALL = "<b>hall</b> Eingang-Nord-Tor-3-Kamera-oben-links-im-Flur-2"


def show(browser: webdriver.Chrome, run: Run, width: int = 1280, scheme: str = "light") -> None:
    """Open the page and wait for its first data."""
    browser.get_log("browser")
    resize(browser, width, scheme)
    browser.get(run.sink.url)
    until(lambda: words(browser, "state") == "Running")


@pytest.fixture(autouse=True)
def _page_is_left(browser: webdriver.Chrome) -> Iterator[None]:
    """The page of a server that has ended asks on and logs errors, which are not those of the next test."""
    yield
    browser.get("about:blank")
    browser.get_log("browser")


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
    assert fits(browser)
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
        assert set(texts(browser, "#counts .number, #zones td")) == {UNKNOWN}
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
        assert texts(browser, "#counts .number, #people .value") == [UNKNOWN] * 6
        assert browser.find_element(By.CSS_SELECTOR, "#chart .empty").get_attribute("textContent") == "No data yet"
        assert "no data yet" in str(browser.find_element(By.ID, "chart").get_attribute("aria-label"))
        assert "NaN" not in texts(browser, "body")[0]
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


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CamerasProcess]:
    """Four cameras: one whose picture is not served, and one that is lost."""
    tables = "".join(f"[[camera]]\nname = '{name}'\n{LIVE_DEMO}" for name in ("door", "hall", "T\u00fcr 2"))
    lost = "[[camera]]\nname = 'gone'\nsource = 'rtsp://127.0.0.1:9/x'\n"
    alert = "[[alerts]]\nname = 'busy'\nwhen = 'too_many_people'\nthreshold = 1\n"
    with CamerasProcess(tmp_path_factory.mktemp("cameras"), tables + "[camera.web]\npicture = false\n" + lost + alert) as process:
        process.wait_open("door", "hall", "T\u00fcr 2")
        yield process
        assert process.end() == 143


def size(browser: webdriver.Chrome, width: int) -> None:
    """Set the size of the window. Forget earlier messages."""
    browser.get_log("browser")
    resize(browser, width)


def test_one_of_several_cameras_is_chosen(browser: webdriver.Chrome, cameras: CamerasProcess) -> None:
    browser.get(f"{cameras.url}/?camera=door")
    until(lambda: words(browser, "state") == "Running")
    assert words(browser, "camera").split("\n") == ["door", "hall", "T\u00fcr 2", "gone"]
    until(lambda: browser.execute_script("return document.getElementById('picture').naturalWidth") == 640)
    Select(browser.find_element(By.ID, "camera")).select_by_visible_text("T\u00fcr 2")
    until(lambda: "camera=T%C3%BCr%202" in browser.current_url and words(browser, "state") == "Running")
    assert Select(browser.find_element(By.ID, "camera")).first_selected_option.text == "T\u00fcr 2"
    assert not browser.find_element(By.ID, "live").is_displayed(), "its picture is not served"
    assert browser.title == "T\u00fcr 2 \N{MIDDLE DOT} maskedge", "tabs of cameras with one source differ"


def test_the_page_of_a_lost_camera_ends_loading(browser: webdriver.Chrome, cameras: CamerasProcess) -> None:
    browser.set_page_load_timeout(60)
    try:
        browser.get(f"{cameras.url}/?camera=gone")
    finally:
        browser.set_page_load_timeout(300)
    until(lambda: words(browser, "state") == "Camera lost")
    assert browser.find_element(By.ID, "live").is_displayed()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_wall_shows_all_cameras(browser: webdriver.Chrome, cameras: CamerasProcess, width: int) -> None:
    size(browser, width)
    browser.get(cameras.url)
    until(lambda: words(browser, "state") == "3 of 4 running")
    cards = texts(browser, "#cards .camera")
    assert [name in card for name, card in zip(("door", "hall", "T\u00fcr 2", "gone"), cards, strict=True)] == [True] * 4
    assert "Running" in cards[0]
    assert "not served" in cards[2]
    assert "Camera lost" in cards[3]
    assert "could not be opened" in cards[3]
    until(lambda: "Busy" in texts(browser, "#cards .camera", at_least=1)[0])
    assert len(browser.find_elements(By.CSS_SELECTOR, "#cards li:first-child .faces .mark")) == 3
    newest = "return [...document.querySelectorAll('#cards img')].filter(i => i.naturalWidth === 640).map(i => i.src).join(' ')"
    until(lambda: str(browser.execute_script(newest)).count("snapshot.jpg") == 2)
    first = browser.execute_script(newest)
    until(lambda: browser.execute_script(newest) != first)
    assert fits(browser)
    beside = browser.execute_script("return getComputedStyle(document.querySelector('.camera')).flexDirection")
    assert beside == ("column" if width > 480 else "row")
    assert not browser.find_element(By.ID, "now").is_displayed()
    assert not browser.get_log("browser")


def test_a_camera_opens_from_the_wall_and_back_returns(browser: webdriver.Chrome, cameras: CamerasProcess) -> None:
    size(browser, 390)
    browser.get(cameras.url)
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#cards .camera")) == 4)
    browser.find_elements(By.CSS_SELECTOR, "#cards .camera")[1].click()
    until(lambda: "camera=hall" in browser.current_url and words(browser, "state") == "Running")
    assert not browser.find_element(By.ID, "wall").is_displayed()
    browser.back()
    until(lambda: words(browser, "state") == "3 of 4 running")
    browser.find_element(By.CSS_SELECTOR, "#cards .camera").send_keys(Keys.ENTER)
    until(lambda: "camera=door" in browser.current_url and words(browser, "state") == "Running")
    browser.find_element(By.LINK_TEXT, "All cameras").click()
    until(lambda: words(browser, "state") == "3 of 4 running")


def test_a_camera_that_has_ended_gives_its_reason_and_is_no_link(browser: webdriver.Chrome, tmp_path: Path) -> None:
    tables = f"[[camera]]\nname = 'door'\n{LIVE_DEMO}[[camera]]\nname = 'none'\nsource = 'missing.mp4'\n"
    with CamerasProcess(tmp_path, tables) as process:
        process.wait_open("door")
        browser.get(process.url)
        until(lambda: words(browser, "state") == "1 of 2 running")
        first, second = browser.find_elements(By.CSS_SELECTOR, "#cards .camera")
        assert "there is no file" in second.text.lower()
        assert second.get_attribute("href") is None
        assert "camera=door" in str(first.get_attribute("href"))


def test_the_page_of_a_camera_that_is_removed_becomes_that_of_all_cameras(browser: webdriver.Chrome, tmp_path: Path) -> None:
    long = "Eingang-Nord-Tor-3-Kamera-oben-links-im-Flur"
    door, hall, yard = (f"[[camera]]\nname = '{name}'\n{LIVE_DEMO}" for name in ("door", long, "yard"))
    with CamerasProcess(tmp_path, door + hall) as process:
        process.wait_open(long)
        resize(browser, 320)
        for page in ("editor.html", ""):
            browser.get(f"{process.url}/{page}?camera={long}")
            until(lambda: words(browser, "camera").split() == ["door", long])
            assert fits(browser), page
        until(lambda: words(browser, "state") == "Running")
        process.reload(door + yard)
        until(lambda: words(browser, "state") == "2 of 2 running", 30)
        assert "unreachable" not in words(browser, "banners")


def tap(browser: webdriver.Chrome, *points: tuple[float, float]) -> None:
    """Touch the canvas of the editor at fractions of the picture."""
    canvas = browser.find_element(By.ID, "canvas")
    for x, y in points:
        left, top, width, height = browser.execute_script(
            "arguments[0].scrollIntoView({block: 'center'});"
            "const m = arguments[0].getScreenCTM(), v = arguments[0].viewBox.baseVal;"
            "return [m.e, m.f, v.width * m.a, v.height * m.d]",
            canvas,
        )
        at = {"x": left + x * width, "y": top + y * height}
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def drawn(browser: webdriver.Chrome) -> str:
    """Return the keys that the editor shows."""
    return str(browser.find_element(By.ID, "toml").get_attribute("value"))


@pytest.mark.parametrize("camera", ["hall", "T\u00fcr 2"])
def test_the_editor_writes_keys_that_the_configuration_accepts(
    browser: webdriver.Chrome, cameras: CamerasProcess, tmp_path: Path, camera: str
) -> None:
    size(browser, 390)
    browser.get(f"{cameras.url}/editor.html?camera={quote(camera)}")
    still = "return document.querySelectorAll('#canvas image').length"
    if camera == "hall":
        until(lambda: browser.execute_script(still) == 1)
    else:
        until(lambda: "--serve-picture" in words(browser, "message"))
        assert browser.execute_script(still) == 0
    tap(browser, (0.1, 0.2), (0.5, 0.2), (0.5, 0.8), (0.1, 0.8), (0.9, 0.9))
    browser.find_element(By.ID, "undo").click()
    browser.find_element(By.ID, "add-line").click()
    tap(browser, (0.7, 0.1), (0.7, 0.9))
    name = browser.find_elements(By.CSS_SELECTOR, "#shapes input")[1]
    name.clear()
    name.send_keys("gate")
    assert fits(browser)
    file = tmp_path / "edge.toml"
    file.write_text(f'[[camera]]\nname = "{camera}"\nsource = "demo"\n{drawn(browser)}', encoding="utf-8")
    (loaded,) = load_config(file).cameras
    (zone,) = Zones.parse(loaded.zones.roi).zones
    (line,) = parse_lines(loaded.lines)
    assert (zone.name, line.name) == ("zone1", "gate")
    assert zone.points == tuple(pytest.approx(point, abs=0.01) for point in ((0.1, 0.2), (0.5, 0.2), (0.5, 0.8), (0.1, 0.8)))
    assert line.points == tuple(pytest.approx(point, abs=0.01) for point in ((0.7, 0.1), (0.7, 0.9)))
    assert not browser.get_log("browser")


def test_the_editor_works_with_the_keyboard_and_an_unnamed_camera(browser: webdriver.Chrome, run: Run, tmp_path: Path) -> None:
    size(browser, 1280)
    browser.get(run.sink.url)
    browser.find_element(By.LINK_TEXT, "Draw zones and lines").click()
    until(lambda: browser.execute_script("return document.querySelectorAll('#canvas image').length") == 1)
    canvas = browser.find_element(By.ID, "canvas")
    right, down, left, up = Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_UP
    # Two sides cross: such a polygon is explained, and not written.
    canvas.send_keys(right, Keys.ENTER, right, down, Keys.ENTER, left, Keys.ENTER, right, up, Keys.ENTER)
    assert "crosses" in words(browser, "shapes")
    assert "roi" not in drawn(browser)
    canvas.send_keys(Keys.BACKSPACE)
    file = tmp_path / "edge.toml"
    file.write_text(drawn(browser), encoding="utf-8")
    assert load_config(file).config.zones.roi == ("zone1=0.5,0.5 0.55,0.55 0.5,0.55",)
    assert not browser.get_log("browser")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of two cameras over the last two days, with a gap of three hours."""
    path = tmp_path_factory.mktemp("history") / "history.sqlite3"
    store, now = Store(path), time.time()
    for minute in range(2 * 1440):
        if 300 < minute < 480:
            continue
        for camera, masked in (("door", 45.0), (HALL, 15.0)):
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
        assert fits(browser)
        rows = words(browser, "history-rows")
        assert f"{HALL} 50%" in rows
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
            assert texts(browser, "#spans [aria-pressed=true]", at_least=1)[0].lower() == span
        chart = browser.find_element(By.ID, "history-faces")
        browser.execute_script("arguments[0].focus()", chart)
        browser.switch_to.active_element.send_keys(Keys.END)
        until(lambda: "67% with a mask" in words(browser, "history-reading"))
        assert "new people" in words(browser, "history-reading")
        browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        choice = Select(browser.find_element(By.ID, "history-camera"))
        assert [option.text for option in choice.options] == ["All", HALL, "door"]
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
        until(lambda: "is not a history" in words(browser, "history-reading"))


def test_without_a_history_the_page_has_no_section_for_it(browser: webdriver.Chrome, run: Run) -> None:
    show(browser, run)
    assert not browser.find_element(By.ID, "history-card").is_displayed()
    assert not browser.execute_script("return 'uPlot' in window")
