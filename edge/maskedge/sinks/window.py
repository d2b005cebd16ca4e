"""A window on the screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable

import cv2

from maskedge.rendering.tile import tile
from maskedge.results import FrameResult
from maskedge.support.workers import child_environment, python_command

from .base import CAMERAS, Sink, SinkContext
from .output_settings import OutputConfig

TITLE = "maskedge (q: quit)"
_GRID = (1280, 720)
"""Width and height in pixels of the picture of several cameras."""
_TRIAL = "import cv2; cv2.namedWindow('trial', cv2.WINDOW_AUTOSIZE); cv2.waitKey(1); cv2.destroyAllWindows()"
_sharing = threading.Lock()
"""Held while a camera looks for the shared screen and creates it. Several cameras may open at the same time."""


def has_windows() -> bool:
    """Return True if this OpenCV can open windows. opencv-python-headless cannot."""
    built = re.search(r"^\s*GUI:\s*(\w+)", cv2.getBuildInformation(), re.MULTILINE)
    return built is None or built[1] != "NONE"


def display_problem() -> str | None:
    """Return the reason why a window cannot be opened, or None if it can.

    OpenCV ends the process if it finds no display, so a short-lived process tries first.
    """
    if not has_windows():
        return "this OpenCV was built without windows"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "no display"
    try:
        trial = subprocess.run(python_command(_TRIAL), capture_output=True, timeout=10, check=False, env=child_environment())  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "the display does not answer"
    return None if trial.returncode == 0 else "the display cannot be opened"


class WindowSink(Sink):
    """Shows frames with their overlay. Call `display_problem` first.

    Args:
        wait: Wait for a key at each frame (single pictures) instead of continuing.
        stopped: Returns True after a request to end the run. It also ends the wait.
    """

    name = "window"
    section = "output"
    queue_capacity = None
    main_thread = True

    def __init__(self, *, wait: bool, stopped: Callable[[], bool] = lambda: False) -> None:
        self._wait = wait
        self._stopped = stopped
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._sized = False

    @classmethod
    def is_wanted(cls, settings: OutputConfig) -> bool:
        """Return True unless the user has disabled the window."""
        return settings.show is not False

    @classmethod
    def open(cls, settings: OutputConfig, context: SinkContext) -> Sink | None:
        """Open the window if there is a display. Named cameras share a window, which the main thread shows."""
        if context.named:
            screen = cls._shared_screen(context)
            return None if screen is None else ScreenSink(screen, context.camera)
        problem = display_problem()
        if problem is None:
            return cls(wait=not context.source.video, stopped=context.stopped)
        context.notices.append(f"{problem}: running without a window")
        return None

    @classmethod
    def _shared_screen(cls, context: SinkContext) -> Screen | None:
        """Return the screen of all cameras, which the first one creates; None if there is no display."""
        with _sharing:
            if cls.name not in context.shared:
                problem = display_problem()
                context.shared[cls.name] = None if problem else Screen(lambda: list(context.shared.get(CAMERAS, ())))
                if problem is not None:
                    context.notices.append(f"{problem}: running without a window")
            screen: Screen | None = context.shared[cls.name]
            return screen

    def still(self, result: FrameResult) -> bool:
        """Show the last picture again, with a banner. Return False if the user quits."""
        cv2.imshow(TITLE, result.picture)
        return self._is_open(cv2.pollKey())

    def write(self, result: FrameResult) -> bool:
        """Show one frame. Return False if the user pressed q or Esc, or closed the window."""
        cv2.imshow(TITLE, result.picture)
        if not self._sized:
            cv2.resizeWindow(TITLE, *result.frame.size)
            self._sized = True
        # The waits are short, so that a signal and the window's close button are detected during a
        # still picture.
        key = cv2.pollKey() if not self._wait else cv2.waitKey(100)
        while self._wait and key < 0 and not self._stopped() and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1:
            key = cv2.waitKey(100)
        return self._is_open(key)

    @staticmethod
    def _is_open(key: int) -> bool:
        return key & 0xFF not in (ord("q"), 27) and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


class Screen:
    """A window with the newest picture of each named camera, side by side.

    The loops put pictures in; the main thread shows them, because a window belongs to one thread.

    Args:
        order: Returns the names of the cameras in their order.

    Attributes:
        newest: The newest result of each camera.
        closed: True after the user has closed the window.
    """

    def __init__(self, order: Callable[[], list[str]]) -> None:
        self.newest: dict[str, FrameResult] = {}
        self.closed = False
        self._order = order
        self._opened = False

    def show(self) -> None:
        """Show the newest pictures. Called several times per second on the main thread."""
        results = {name: result.picture for name in self._order() if (result := self.newest.get(name)) is not None}
        if self.closed or not results:
            return
        if not self._opened:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            self._opened = True
            cv2.resizeWindow(TITLE, *_GRID)
        cv2.imshow(TITLE, tile(list(results.values()), list(results), _GRID))
        self.closed = cv2.pollKey() & 0xFF in (ord("q"), 27) or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1

    def close(self) -> None:
        """Close the window."""
        if self._opened:
            cv2.destroyAllWindows()


class ScreenSink(Sink):
    """Puts the pictures of a named camera on a `Screen`."""

    name = "window"
    section = "output"
    queue_capacity = None

    def __init__(self, screen: Screen, camera: str) -> None:
        self._screen = screen
        self._camera = camera

    def write(self, result: FrameResult) -> bool:
        """Keep the result for the screen. Return False after the user has closed the window."""
        self._screen.newest[self._camera] = result
        return not self._screen.closed

    def still(self, result: FrameResult) -> bool:
        """Keep the last result with its banner."""
        return self.write(result)

    def close(self) -> None:
        """Remove the picture of the camera."""
        self._screen.newest.pop(self._camera, None)
