"""A real browser for the tests of pages."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed (make test installs it)")
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "chromium or chromedriver is not installed (Debian packages chromium, chromium-driver)"


def start_chromium(profile: Path, *flags: str) -> webdriver.Chrome:
    """Start a headless Chromium with a profile of its own. The caller quits it.

    Args:
        profile: Folder of the profile.
        flags: Further flags, without the dashes.
    """
    if CHROMIUM is None or DRIVER is None:
        pytest.skip(MISSING)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
        *("disable-component-update", "disable-sync", f"user-data-dir={profile}", *flags),
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


def resize(browser: webdriver.Chrome, width: int, scheme: str = "light", height: int = 844) -> None:
    """Set the size of the window in pixels and the colour scheme."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    size: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def fits(browser: webdriver.Chrome) -> bool:
    """Return True if the page does not scroll sideways."""
    # `innerWidth` of a phone grows with a page that is too wide.
    return bool(browser.execute_script("const page = document.documentElement; return page.scrollWidth <= page.clientWidth"))


def words(browser: webdriver.Chrome, identity: str) -> str:
    """Return the text of an element, also while the page draws it anew or another page is loaded."""
    return texts(browser, f"#{identity}", at_least=1)[0]


def texts(browser: webdriver.Chrome, selector: str, *, at_least: int = 0) -> list[str]:
    """Return the texts of the elements of a CSS selector. They are read again if the page draws them anew meanwhile.

    Args:
        browser: The browser.
        selector: The selector.
        at_least: Wait for this number of elements.
    """

    def read(_: webdriver.Chrome) -> tuple[list[str]] | None:
        found = [str(one.text) for one in browser.find_elements(By.CSS_SELECTOR, selector)]
        return (found,) if len(found) >= at_least else None

    waiting = WebDriverWait(browser, 10, 0.02, ignored_exceptions=(StaleElementReferenceException,))
    return waiting.until(read, f"no {selector} on the page")[0]
