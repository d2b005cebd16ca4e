"""The status page in a frame of Home Assistant's Ingress, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("selenium", reason="selenium is not installed (make test installs it)")
from selenium import webdriver
from selenium.webdriver.common.by import By

from helpers.browsers import words
from helpers.ingress import Ingress, own_address
from helpers.streams import until
from helpers.web_run import Run


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    """A proxy in front of a run with a live picture."""
    with Run(picture=True, serve="0.0.0.0:0", proxy=own_address()) as run:
        proxy = Ingress(run.address[1])
        yield proxy
        proxy.stop()


def test_the_page_works_in_the_frame_of_a_proxy(browser: webdriver.Chrome, ingress: Ingress) -> None:
    browser.get_log("browser")
    browser.get(ingress.url)
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    until(lambda: words(browser, "state") == "Running")
    picture = "return document.getElementById('picture').naturalWidth"
    until(lambda: browser.execute_script(picture) == 640)

    def stills() -> int:
        return sum(path.startswith("/snapshot.jpg") for path in ingress.paths)

    before = stills()
    until(lambda: stills() >= before + 2)
    browser.find_element(By.ID, "editor").click()
    until(lambda: any(path.startswith("/api/cameras/camera/snapshot.jpg") for path in ingress.paths))
    browser.switch_to.default_content()
    # Before the first frame there is no still: the page asks again.
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in errors if "503 (Service Unavailable)" not in message] == []
    browser.get("about:blank")
