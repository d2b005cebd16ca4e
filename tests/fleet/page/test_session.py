"""Sign-in, roles, and the files of the page."""

from __future__ import annotations

import re

import httpx
import pytest

pytest.importorskip("selenium", reason="selenium is not installed (make test installs it)")
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from helpers.browsers import fits, resize, words
from helpers.fleet.page.server import PageServer
from helpers.fleet.page.visit import buttons, content, go, press, visit
from helpers.streams import until

MENUS = {
    "viewer": ["Fleet", "Sites", "Alerts"],
    "operator": ["Fleet", "Sites", "Alerts", "Rejects"],
    "admin": ["Fleet", "Sites", "Alerts", "Models", "Tokens", "Audit", "Rejects"],
}
HARMLESS = {"Wall", "List", "Day", "Week", "Month", "Open", "Active", "All", "Older events", "Older alerts"}
"""Buttons that change nothing, besides those of states."""


@pytest.mark.parametrize("width", [390, 1280])
def test_a_token_signs_in_and_signing_out_ends_the_session(browser: Chrome, fleet: PageServer, width: int) -> None:
    resize(browser, width)
    browser.get("about:blank")
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.get_log("browser")
    browser.get(f"{fleet.url}/#/sites")
    until(lambda: browser.find_element(By.ID, "token").is_displayed())
    assert browser.switch_to.active_element.get_attribute("id") == "token"
    assert fits(browser)
    assert not browser.get_log("browser")
    browser.find_element(By.ID, "token").send_keys("mef_nonsense", Keys.ENTER)
    until(lambda: "unknown, expired or revoked" in words(browser, "sign-in-problem"))
    assert not browser.find_element(By.ID, "app").is_displayed()
    # The wrong token is selected, so the right one replaces it.
    browser.find_element(By.ID, "token").send_keys(fleet.tokens["operator"], Keys.ENTER)
    until(lambda: words(browser, "main").startswith("Sites"))
    assert browser.execute_script("return document.getElementById('who').textContent") == "operator"
    assert browser.execute_script("return document.cookie") == ""
    assert not browser.find_element(By.ID, "token").get_attribute("value")
    if width == 390:
        browser.find_element(By.ID, "menu").click()
    press(browser, "Sign out")
    until(lambda: browser.find_element(By.ID, "token").is_displayed())
    browser.refresh()
    until(lambda: browser.find_element(By.ID, "token").is_displayed())


@pytest.mark.parametrize("role", MENUS)
def test_the_menu_shows_what_a_role_may_see(browser: Chrome, fleet: PageServer, role: str) -> None:
    visit(browser, fleet, role=role)
    links = browser.execute_script("return [...document.querySelectorAll('#nav a')].map((one) => one.firstChild.textContent)")
    assert links == MENUS[role]
    assert not browser.get_log("browser")


def test_a_viewer_sees_no_button_that_changes_something(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet, role="viewer")
    for path in ("/", "/sites", "/site/Berlin%201", "/device/door-0001", "/alerts"):
        go(browser, path)
        until(lambda: "Loading" not in content(browser))
        shown = {text for text in buttons(browser) if not re.search(r"\d$", text)}
        assert shown <= HARMLESS, path
    assert "Acknowledge" not in content(browser)
    go(browser, "/tokens")
    assert "your role does not show it" in content(browser)
    assert not browser.get_log("browser")


def test_a_revoked_token_ends_the_session(browser: Chrome, new_fleet: PageServer) -> None:
    visit(browser, new_fleet, role="viewer")
    until(lambda: words(browser, "live") == "Live")
    header = {"Authorization": f"Bearer {new_fleet.tokens['admin']}"}
    assert httpx.delete(f"{new_fleet.url}/api/v1/tokens/viewer", headers=header).status_code == 204
    until(lambda: "expired or was revoked" in words(browser, "sign-in-problem"))
    assert not content(browser)


def test_a_hidden_page_has_no_live_connection(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet)
    until(lambda: words(browser, "live") == "Live")
    page = browser.current_window_handle

    assert fleet.live_clients == 1
    browser.switch_to.new_window("tab")
    until(lambda: fleet.live_clients == 0)
    browser.close()
    browser.switch_to.window(page)
    until(lambda: fleet.live_clients == 1)
    assert words(browser, "live") == "Live"


def test_files_have_the_headers_of_a_page_without_inline_scripts(new_fleet: PageServer) -> None:
    page = httpx.get(f"{new_fleet.url}/")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)
    names = re.findall(r'(?:src|href)="(page/[^"]+)"', page.text)
    assert {"page/main.js", "page/format.js", "page/common.css", "page/fleet.css"} <= set(names)
    for name in names:
        file = httpx.get(f"{new_fleet.url}/{name}")
        assert file.status_code == 200
        again = httpx.get(f"{new_fleet.url}/{name}", headers={"If-None-Match": file.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert httpx.get(f"{new_fleet.url}/page/router.py").status_code == 404
    assert httpx.get(f"{new_fleet.url}/page/..%2frouter.py").status_code == 404


def test_no_other_host_is_contacted(browser: Chrome, fleet: PageServer) -> None:
    visit(browser, fleet, "/device/door-0001")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "canvas"))
    origins = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)")
    assert set(origins) == {fleet.url}
