"""Visits of the page of a fleet in a real browser."""

from __future__ import annotations

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from helpers.browsers import resize
from helpers.streams import until
from maskedge_fleet.api.core.access import COOKIE

from .server import PageServer


def visit(
    browser: Chrome, fleet: PageServer, path: str = "/", *, role: str = "admin", width: int = 1280, scheme: str = "light"
) -> None:
    """Open a view with the cookie of a role, and wait until it is complete."""
    resize(browser, width, scheme)
    browser.get("about:blank")
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    cookie = {"name": COOKIE, "value": fleet.tokens[role], "url": fleet.url, "httpOnly": True, "sameSite": "Strict"}
    browser.execute_cdp_cmd("Network.setCookie", cookie)
    browser.get_log("browser")
    browser.get(f"{fleet.url}/#{path}")
    wait_for_view(browser)


def go(browser: Chrome, path: str) -> None:
    """Open another view of the page that is shown."""
    # The view that is still shown is not taken for the next one.
    leave = "document.querySelector('#main .view').setAttribute('aria-busy', 'true'); location.hash = '#' + arguments[0]"
    browser.execute_script(leave, path)
    wait_for_view(browser)


def wait_for_view(browser: Chrome) -> None:
    """Wait until a view is complete."""
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#main .view:not([aria-busy]) h1"))


def content(browser: Chrome) -> str:
    """Return the text of the view."""
    return str(browser.execute_script("return document.getElementById('main').innerText"))


def buttons(browser: Chrome) -> list[str]:
    """Return the texts of the visible buttons of the view and of a question."""
    script = """
      const all = [...document.querySelectorAll('#main button, dialog button')];
      return all.filter((one) => one.offsetParent).map((one) => one.innerText);"""
    found: list[str] = browser.execute_script(script)
    return found


def press(browser: Chrome, text: str) -> None:
    """Press the first visible button of a text: in the question, if there is one."""
    script = """
      const all = [...document.querySelectorAll('dialog button'), ...document.querySelectorAll('#main button, #side button')];
      const found = all.find((one) => one.innerText.trim() === arguments[0] && !one.disabled && one.offsetParent);
      if (found) found.click();
      return Boolean(found);"""
    until(lambda: browser.execute_script(script, text))
