"""The wall, the list and live changes."""

from __future__ import annotations

from datetime import datetime, timezone

import httpx
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

pytest.importorskip("selenium", reason="selenium is not installed (make test installs it)")
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from helpers.browsers import fits, texts, words
from helpers.fleet.page.rows import fill_devices
from helpers.fleet.page.server import PageServer
from helpers.fleet.page.visit import content, go, press, visit
from helpers.streams import until
from maskedge_fleet.database.tables import Alert, Camera, Device

UNKNOWN = "\N{EN DASH}"
VIEWS = (
    "/",
    "/?view=list",
    "/sites",
    "/site/Berlin%201",
    "/device/door-0001",
    "/alerts?state=all",
    "/tokens",
    "/audit",
    "/rejects",
)


def tile(browser: Chrome, name: str) -> str:
    """Return the text of the tile of a device, with its state."""
    script = """
      const all = [...document.querySelectorAll('.tile')];
      return all.find((one) => one.querySelector('b').textContent === arguments[0])?.textContent;"""
    return str(browser.execute_script(script, name))


def tiles(browser: Chrome) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, ".tile"))


def test_the_wall_is_grouped_by_sites_and_groups(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet)
    heads = browser.execute_script(
        "return [...document.querySelectorAll('.site')].map((one) => one.querySelector('h2').textContent)"
    )
    assert heads == ["Berlin 1", "Hamburg 1", "Köln 1"]
    groups = browser.execute_script("return [...document.querySelectorAll('.site h3')].map((one) => one.textContent)")
    assert groups == ["Entrances", "Tills"] * 3
    assert tiles(browser) == 24
    summary = texts(browser, ".summary", at_least=1)[0].split("\n")
    assert "Devices online" in summary
    assert summary[-1] == "With a mask today"
    assert summary[-2].endswith("%")
    assert not browser.get_log("browser")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_view_fits_the_width(browser: Chrome, fleet: PageServer, width: int, scheme: str) -> None:
    visit(browser, fleet, width=width, scheme=scheme)
    for path in VIEWS:
        go(browser, path)
        until(lambda: "Loading" not in content(browser))
        assert fits(browser), path
    colour = browser.execute_script("return getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}[scheme]
    assert not browser.get_log("browser")


def test_filters_narrow_the_wall_and_stay_in_the_address(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet)
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("door-000")
    until(lambda: tiles(browser) == 9)
    assert "9 of 24 devices" in content(browser)
    Select(browser.find_element(By.CSS_SELECTOR, "select[aria-label=Site]")).select_by_visible_text("Berlin 1")
    until(lambda: tiles(browser) == 3)
    press(browser, "List")
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".rows tbody tr")) == 3)
    browser.refresh()
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".rows tbody tr")) == 3)
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("nothing")
    until(lambda: "No device matches" in content(browser))
    press(browser, "Clear filters")
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".rows tbody tr")) == 24)
    assert not browser.get_log("browser")


def fill_online(fleet: PageServer) -> None:
    """Store six devices that are online."""
    with Session(fleet.engine) as session, session.begin():
        fill_devices(session, 6, sites=2)
        session.execute(update(Device).values(online=True))
        session.execute(update(Camera).values(state="open"))


def test_changes_appear_without_a_reload(browser: Chrome, new_fleet: PageServer) -> None:
    fill_online(new_fleet)
    visit(browser, new_fleet)
    until(lambda: words(browser, "live") == "Live")
    assert "Online" in tile(browser, "door-0002")
    browser.execute_script("window.same = document.querySelector('.tile')")
    now = datetime.now(timezone.utc)
    with Session(new_fleet.engine) as session, session.begin():
        session.execute(update(Device).where(Device.id == 2).values(online=False))
        session.execute(update(Camera).where(Camera.device_id == 3).values(state="lost"))
        session.add(Alert(rule="long_without", source="device", subject="door-0004", device_id=4, since=now))
        session.execute(update(Device).where(Device.id.in_((3, 4))).values(seen=now))
        session.add(Device(id=7, name="door-0007", prefix="maskedge/door-0007", created=now, online=True, seen=now))
    until(lambda: "Offline" in tile(browser, "door-0002"))
    until(lambda: "Camera lost" in tile(browser, "door-0003"))
    until(lambda: "Alert" in tile(browser, "door-0004"))
    until(lambda: tiles(browser) == 7)
    assert browser.execute_script("return window.same.isConnected"), "tiles are updated in place"
    assert not browser.get_log("browser")


@pytest.mark.slow
def test_the_summary_follows_changes(browser: Chrome, new_fleet: PageServer) -> None:
    fill_online(new_fleet)
    visit(browser, new_fleet)
    until(lambda: words(browser, "live") == "Live")
    with Session(new_fleet.engine) as session, session.begin():
        session.execute(update(Device).where(Device.id == 2).values(online=False))
        since = datetime.now(timezone.utc)
        session.add(Alert(rule="long_without", source="device", subject="door-0004", device_id=4, since=since))
    until(lambda: "5 of 6" in content(browser))
    until(lambda: words(browser, "alert-count") == "1")


def test_a_thousand_devices_are_shown_in_a_small_document(browser: Chrome, new_fleet: PageServer) -> None:
    with Session(new_fleet.engine) as session, session.begin():
        fill_devices(session, 1000, sites=40, cameras=1)
    visit(browser, new_fleet)
    assert tiles(browser) == 1000
    nodes = "return document.querySelectorAll('*').length"
    assert browser.execute_script(nodes) < 10_000
    assert browser.execute_script("return getComputedStyle(document.querySelector('.site')).contentVisibility") == "auto"
    go(browser, "/?view=list")
    rows = "return document.querySelectorAll('.rows tbody tr').length"
    first = browser.execute_script(rows)
    assert 0 < first <= 200
    browser.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
    until(lambda: browser.execute_script(rows) > first)
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("door-0999")
    until(lambda: browser.execute_script(rows) == 1)
    assert fits(browser)
    assert not browser.get_log("browser")


def test_an_empty_fleet_explains_how_to_add_a_device(browser: Chrome, new_fleet: PageServer) -> None:
    visit(browser, new_fleet)
    assert "No devices yet" in content(browser)
    assert "[fleet] enabled = true" in content(browser)
    numbers = set(texts(browser, ".summary .number", at_least=1))
    assert numbers == {UNKNOWN}
    for path, text in {
        "/sites": "No sites yet",
        "/alerts": "No open alerts",
        "/models": "No models yet",
        "/rejects": "No rejects",
        "/audit": "Nothing has been changed yet",
    }.items():
        go(browser, path)
        assert text in content(browser)
    assert not browser.get_log("browser")


def test_values_of_a_device_that_is_offline_or_new_are_unknown(browser: Chrome, new_fleet: PageServer) -> None:
    with Session(new_fleet.engine) as session, session.begin():
        fill_devices(session, 1, cameras=1)
        session.execute(update(Device).values(online=False))
        session.add(Device(name="fresh", prefix="maskedge/fresh", created=datetime.now(timezone.utc)))
    visit(browser, new_fleet, "/?view=list")
    offline, fresh = texts(browser, ".rows tbody tr", at_least=2)
    assert f"{UNKNOWN} of 1" in offline
    assert "°C" not in offline
    assert "Never connected" in fresh
    go(browser, "/device/fresh")
    until(lambda: "No counts in the last day" in content(browser))
    assert "No cameras yet" in content(browser)
    assert "NaN" not in content(browser)
    assert "undefined" not in content(browser)
    go(browser, "/device/door-0001")
    assert "The device is offline" in content(browser)
    assert set(
        browser.execute_script(
            "return [...document.querySelectorAll('.faces > span')].map((one) => one.childNodes[1].textContent.trim())"
        )
    ) == {UNKNOWN}
    assert not browser.get_log("browser")


def test_a_server_that_is_away_is_shown_and_the_page_recovers(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet)
    until(lambda: words(browser, "live") == "Live")
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    browser.execute_script("location.hash = '#/sites'")
    until(lambda: "The server does not answer" in content(browser))
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**offline, "offline": False})
    go(browser, "/alerts")
    until(lambda: "Acknowledge" in content(browser))
    browser.get_log("browser")


def test_the_page_is_used_with_the_keyboard(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet)
    browser.execute_script("document.getElementById('skip').focus()")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.tag_name == "h1"
    for _ in range(12):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if "door-" in browser.switch_to.active_element.text:
            break
        if browser.switch_to.active_element.text == "Berlin 1":
            break
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(lambda: browser.switch_to.active_element.text == "Berlin 1" and browser.switch_to.active_element.tag_name == "h1")
    until(lambda: "By hour" in content(browser))
    chart = browser.find_element(By.CSS_SELECTOR, ".plot")
    browser.execute_script("arguments[0].focus()", chart)
    chart.send_keys(Keys.END)
    until(lambda: "in view;" in content(browser))
    chart.send_keys(Keys.ESCAPE)
    until(lambda: "By hour" in content(browser))
    assert not browser.get_log("browser")


def test_counts_of_a_site_are_charts_and_csv(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet, "/site/Berlin%201")
    for span, bucket in (("Week", "hour"), ("Month", "day"), ("Day", "hour")):
        press(browser, span)
        until(lambda span=span, bucket=bucket: f"Last {span.lower()}" in content(browser) and f"By {bucket}" in content(browser))
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".plot canvas")) == 2)
    address = str(browser.find_element(By.CSS_SELECTOR, "a[download]").get_attribute("href"))
    lines = httpx.get(address, headers={"Authorization": f"Bearer {fleet.tokens['viewer']}"}).text.splitlines()
    assert lines[0].startswith("time,site,")
    assert "with_mask" in lines[1]
    assert not browser.get_log("browser")


def test_sites_are_compared(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet, "/sites")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".compare canvas"))
    assert len(browser.find_elements(By.CSS_SELECTOR, ".choose .key")) == 3
    boxes = browser.find_elements(By.CSS_SELECTOR, ".choose input")
    boxes[1].click()
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".choose .key")) == 2)
    assert "compare=Berlin+1&compare=K" in browser.current_url
    shares = texts(browser, ".share", at_least=9)
    assert len(shares) == 9
    assert all(share.endswith("%") for share in shares)
    assert not browser.get_log("browser")


def test_a_page_that_does_not_exist_leads_back(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet)
    for path in ("/nothing", "/constructor", "/%E0%A4%A", "/site/none"):
        go(browser, path)
        assert "Back to the fleet" in content(browser)
    go(browser, "/device/none")
    assert "There is no device of this name." in content(browser)
