"""A window on the screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import cv2

from maskedge.events import Event
from maskedge.results import FrameResult

TITLE = "maskedge (q: quit)"
_PROBE = "import cv2; cv2.namedWindow('probe', cv2.WINDOW_AUTOSIZE); cv2.waitKey(1); cv2.destroyAllWindows()"


def has_windows() -> bool:
    """Tell whether this OpenCV can open windows: opencv-python-headless cannot."""
    built = re.search(r"^\s*GUI:\s*(\w+)", cv2.getBuildInformation(), re.MULTILINE)
    return built is None or built[1] != "NONE"


def display_problem() -> str | None:
    """Tell why no window can be opened; None when one can.

    OpenCV ends the whole process when it finds no display, so a short-lived process tries first.
    """
    if not has_windows():
        return "this OpenCV was built without windows"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "no display"
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "the display does not answer"
    return None if probe.returncode == 0 else "the display cannot be opened"


class WindowSink:
    """Shows frames with the overlay. Call `display_problem` first.

    Args:
        wait: Wait for a key at each frame (single pictures) instead of going on.
        stopped: Tells whether the run was asked to end, which ends the waiting too.
    """

    name = "window"

    def __init__(self, *, wait: bool, stopped: Callable[[], bool] = lambda: False) -> None:
        self._wait = wait
        self._stopped = stopped
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._sized = False

    def still(self, answer: FrameResult) -> bool:
        """Show the last picture again, with its banner, while no newer one comes. False when the user wants the end."""
        cv2.imshow(TITLE, answer.picture)
        return self._goes_on(cv2.pollKey())

    def write(self, answer: FrameResult) -> bool:
        """Show one frame. False when the user pressed q or Esc, or closed the window."""
        cv2.imshow(TITLE, answer.picture)
        if not self._sized:
            cv2.resizeWindow(TITLE, *answer.frame.size)
            self._sized = True
        # Short waits, so that a signal and the window's close button are noticed while a picture stands.
        key = cv2.pollKey() if not self._wait else cv2.waitKey(100)
        while self._wait and key < 0 and not self._stopped() and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1:
            key = cv2.waitKey(100)
        return self._goes_on(key)

    @staticmethod
    def _goes_on(key: int) -> bool:
        return key & 0xFF not in (ord("q"), 27) and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def handle_event(self, event: Event) -> None:
        """Nothing: a window shows frames."""

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()
