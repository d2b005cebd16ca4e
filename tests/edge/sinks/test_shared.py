"""Outputs that named cameras share, opened by several cameras at the same time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from maskedge.sinks.base import CAMERAS, Sink, SinkContext
from maskedge.sinks.output_settings import OutputConfig
from maskedge.sinks.web.config import WebConfig
from maskedge.sinks.web.output import WebOutput
from maskedge.sinks.web.site import WebSite
from maskedge.sinks.window import WindowSink
from maskedge.sources import DemoSource

NAMES = ("door", "hall", "yard", "gate")


@pytest.fixture
def source() -> Iterator[DemoSource]:
    opened = DemoSource()
    yield opened
    opened.close()


def open_at_once(output: type[Sink], settings: Any, contexts: list[SinkContext]) -> list[Sink | None]:
    """Open the output for each camera, on a thread of its own."""
    together = threading.Barrier(len(contexts))

    def open_one(context: SinkContext) -> Sink | None:
        together.wait(60)
        return output.open(settings, context)

    with ThreadPoolExecutor(len(contexts)) as pool:
        return list(pool.map(open_one, contexts))


def test_cameras_that_open_at_the_same_time_share_one_server(source: DemoSource) -> None:
    shared: dict[str, Any] = {CAMERAS: dict.fromkeys(NAMES, "")}
    contexts = [SinkContext(source, camera=name, named=True, shared=shared) for name in NAMES]
    sinks = [sink for sink in open_at_once(WebOutput, WebConfig(serve="127.0.0.1:0"), contexts) if sink is not None]
    try:
        assert len(sinks) == len(NAMES)
        assert {sink.url for sink in sinks} == {shared["web"].url}
    finally:
        for sink in sinks:
            sink.close()
        shared["web"].close()


def test_cameras_that_end_at_the_same_time_all_leave_the_page(source: DemoSource, monkeypatch: pytest.MonkeyPatch) -> None:
    site = WebSite(WebConfig(serve="127.0.0.1:0"))
    site.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(NAMES)) as pool:
            for _ in range(300):
                pages = [SimpleNamespace(camera=name) for name in NAMES]
                monkeypatch.setattr(site, "_cameras", {page.camera: page for page in pages})
                together = threading.Barrier(len(NAMES))
                list(pool.map(lambda page, together=together: (together.wait(60), site.detach(page)), pages))  # type: ignore[misc]
                assert site._cameras == {}
    finally:
        sys.setswitchinterval(interval)
        site.close()


def test_cameras_that_open_at_the_same_time_try_the_display_once(source: DemoSource, monkeypatch: pytest.MonkeyPatch) -> None:
    if "GUI:                           NONE" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has no windows")
    monkeypatch.setenv("DISPLAY", ":987")
    shared: dict[str, Any] = {CAMERAS: dict.fromkeys(NAMES, "")}
    contexts = [SinkContext(source, camera=name, named=True, shared=shared) for name in NAMES]
    assert open_at_once(WindowSink, OutputConfig(show=True), contexts) == [None] * len(NAMES)
    assert shared["window"] is None
    notices = [notice for context in contexts for notice in context.notices]
    assert notices == ["the display cannot be opened: running without a window"]
