"""Cameras and network streams: the newest frame wins."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from maskedge.errors import SourceError
from maskedge.types import Frame, Image

from .base import BaseSource, stamp

OPEN_TIMEOUT = 10.0
"""Seconds to wait for a stream to answer, and for its next frame."""
_SLICE = 0.1


def list_cameras() -> list[str]:
    """List the video devices of this machine, as in `/dev/video0 (HD Webcam)`."""
    cameras = []
    for device in sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name)):
        label = Path("/sys/class/video4linux") / device.name / "name"
        try:
            cameras.append(f"{device} ({label.read_text(encoding='utf-8').strip()})")
        except OSError:
            cameras.append(str(device))
    return cameras


def open_camera(device: str) -> LiveSource:
    """Open a camera.

    Args:
        device: Its number, or its path (`/dev/video0`).

    Raises:
        SourceError: It cannot be opened; the text says which devices exist and what to try.
    """
    number = re.fullmatch(r"(?:/dev/video)?(\d+)", device)
    capture = cv2.VideoCapture(int(number[1])) if number else cv2.VideoCapture(device)
    if capture.isOpened():
        # A queue of old frames helps no one: ask the driver for the shortest.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        ready, first = capture.read()
        if ready:
            return LiveSource(device, capture, np.asarray(first, np.uint8))
    capture.release()
    found = list_cameras()
    exists = f"video devices here: {', '.join(found)}" if found else "this machine has no video device"
    raise SourceError(
        f"camera {device} could not be opened; {exists}. Try another --camera number, check the cable and who else uses it, "
        "or use --source FILE or --source demo."
    )


def open_stream(uri: str) -> LiveSource:
    """Open a network stream (`rtsp://`, `http://` and what else FFmpeg reads).

    Raises:
        SourceError: It cannot be opened.
    """
    milliseconds = int(OPEN_TIMEOUT * 1000)
    options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, options)
    ready, first = capture.read() if capture.isOpened() else (False, None)
    name = without_password(uri)
    if not ready:
        capture.release()
        raise SourceError(
            f"the stream {name} could not be opened within {OPEN_TIMEOUT:.0f} s: "
            "check the address, the name and password, and that it is running."
        )
    return LiveSource(name, capture, np.asarray(first, np.uint8))


def without_password(uri: str) -> str:
    """Hide name and password of an address, for logs and events."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", uri)


class LiveSource(BaseSource):
    """An opened camera or stream. A thread reads it; who asks gets the newest frame, and older ones are dropped.

    Args:
        name: What to call it in events.
        capture: The opened capture.
        first: Its first frame, uint8 `[H, W, 3]` BGR.
    """

    def __init__(self, name: str, capture: cv2.VideoCapture, first: Image) -> None:
        fps = capture.get(cv2.CAP_PROP_FPS)
        super().__init__(name, video=True, live=True, fps=fps if 0 < fps <= 240 else 30.0)
        self._capture = capture
        self._newest: Frame | None = stamp(first, 0, name)
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._grab, name=f"grab {name}", daemon=True)
        self._thread.start()

    def _grab(self) -> None:
        index = 0
        while not self._stopping:
            ready, image = self._capture.read()
            index += 1
            with self._changed:
                if ready:
                    self.dropped += self._newest is not None
                    self._newest = stamp(np.asarray(image, np.uint8), index, self.name)
                else:
                    self._ended = True
                self._changed.notify()
            if not ready:
                return

    def frames(self) -> Iterator[Frame]:
        """Give the newest frame each time, until the source is closed.

        Raises:
            SourceError: The camera or stream was lost.
        """
        patience = 0.0
        while not self._stopping:
            with self._changed:
                # Short waits: a signal handler cannot notify, it may have interrupted this very block.
                self._changed.wait_for(lambda: self._newest is not None or self._ended, _SLICE)
                frame, self._newest = self._newest, None
            if frame is not None:
                patience = 0.0
                yield frame
                continue
            patience += _SLICE
            if self._ended or patience >= OPEN_TIMEOUT:
                what = "ended or was lost" if self._ended else f"gave no frame for {OPEN_TIMEOUT:.0f} s"
                raise SourceError(f"{self.name} {what}: check the cable or the network, then start again.")

    def close(self) -> None:
        """Stop the thread and let go of the device."""
        self.stop()
        self._thread.join(timeout=2)
        if not self._thread.is_alive():
            self._capture.release()
