"""What a live source reads from: a camera, a stream, a GStreamer pipeline. Each is opened, read and closed by one thread."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import cv2
import numpy as np

from maskedge.errors import SourceError, UsageError
from maskedge.types import Image

from .address import without_password
from .config import SourceConfig

_FAILURES = 10
"""Reads of a camera in a row that may fail (a damaged picture) before it counts as lost."""
_CATCH_UP = 1.0
"""Seconds at most to read a stream's old frames away."""
_WAITED = 0.005
"""A read that waited so many seconds for the network took the newest frame there was."""
_RAW = "analyzeduration;500000|rtsp_flags;prefer_tcp"
"""Options of FFmpeg for video without a container: it would look at 5 s of it before it gives the first frame.
The second is what OpenCV sets where there are no options."""


class Device(Protocol):
    """Something opened that gives pictures.

    Attributes:
        fps: Frames a second, as far as it knows; 0 where it does not.
        finite: True when its end is no loss.
        skipped: Frames that arrived and were not given, so far.
        warnings: Where it does not give what was asked for (one sentence each).
    """

    fps: float
    finite: bool
    skipped: int
    warnings: list[str]

    def read(self) -> Image | None:
        """Wait for the next picture, uint8 `[H, W, 3]` BGR; None when there is none any more."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


Opener: TypeAlias = Callable[[], Device]
"""Opens the device, now or once more; raises SourceError with the reason when it cannot."""


class CaptureDevice:
    """An opened `cv2.VideoCapture`.

    Args:
        capture: It.
        failures: Reads in a row that may fail before it counts as lost.
    """

    finite = False

    def __init__(self, capture: cv2.VideoCapture, failures: int = 1) -> None:
        self._capture = capture
        self._failures = failures
        self._first: Image | None = None
        self.fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.skipped = 0
        self.warnings: list[str] = []

    def begin(self) -> bool:
        """Read the first picture, which `read` gives then; False when there is none."""
        self._first = self._read()
        return self._first is not None

    def catch_up(self) -> bool:
        """Read away what was waiting in buffers, up to a picture that had to be waited for; False when there is none.

        Servers, the network and FFmpeg's probing hold frames back: without this the first seconds would show the past.
        """
        deadline = time.monotonic() + _CATCH_UP
        while True:
            start, busy = time.perf_counter(), time.thread_time()
            if not self._capture.grab():
                return False
            waited = (time.perf_counter() - start) - (time.thread_time() - busy)
            if waited >= _WAITED or time.monotonic() > deadline:
                self._first = _picture(*self._capture.retrieve())
                return self._first is not None
            self.skipped += 1

    def read(self) -> Image | None:
        """Wait for the next picture; None when there is none any more."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._read()

    def _read(self) -> Image | None:
        for attempt in range(self._failures):
            if attempt:
                time.sleep(0.03)
            image = _picture(*self._capture.read())
            if image is not None:
                return image
        return None

    def close(self) -> None:
        """Let go of it."""
        self._capture.release()


def _picture(ready: bool, image: object) -> Image | None:
    """Give the picture that OpenCV read, always in colour; None when it read none."""
    if not ready or not isinstance(image, np.ndarray) or image.size == 0:
        return None
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.asarray(image, np.uint8)


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


def open_camera(device: str, config: SourceConfig) -> CaptureDevice:
    """Open a camera of V4L2 (USB, or a CSI camera with an old driver).

    Args:
        device: Its number, or its path (`/dev/video0`, `/dev/v4l/by-id/..`).
        config: What to ask it for.

    Raises:
        SourceError: It cannot be opened; the text says which devices exist and what to try.
    """
    number = re.fullmatch(r"(?:/dev/video)?(\d+)", device)
    backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    capture = cv2.VideoCapture(int(number[1]) if number else device, backend)
    if capture.isOpened():
        warnings = _set_up(capture, device, config)
        camera = CaptureDevice(capture, _FAILURES)
        camera.warnings = warnings
        if camera.begin():
            return camera
    capture.release()
    found = list_cameras()
    exists = f"video devices here: {', '.join(found)}" if found else "this machine has no video device"
    raise SourceError(
        f"camera {device} could not be opened; {exists}. Try another --camera number, check the cable and who else uses it, "
        "or use --source FILE or --source demo."
    )


def _set_up(capture: cv2.VideoCapture, device: str, config: SourceConfig) -> list[str]:
    """Ask a camera for format, size and rate, and say what it gives instead."""
    # The order is V4L2's: the format decides which sizes there are, and format and size which rates.
    if config.fourcc is not None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*config.fourcc))
    if config.width is not None and config.height is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
    if config.fps is not None:
        capture.set(cv2.CAP_PROP_FPS, config.fps)
    # A queue of old frames helps no one. Two: the driver fills one while the other is decoded; with one alone it would miss
    # every second frame.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
    warnings = []
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    fourcc = code.to_bytes(4, "little").decode("latin-1") if code > 0 else "?"
    if config.fourcc is not None and fourcc != config.fourcc:
        warnings.append(f"camera {device} gives the format {fourcc.strip()} instead of {config.fourcc}.")
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if config.width is not None and size != (config.width, config.height):
        warnings.append(f"camera {device} gives {size[0]} x {size[1]} instead of {config.width} x {config.height}.")
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    if config.fps is not None and abs(fps - config.fps) > 0.5:
        warnings.append(f"camera {device} gives {fps:g} frames/s instead of {config.fps:g}.")
    return warnings


def open_stream(uri: str, config: SourceConfig) -> CaptureDevice:
    """Open a network stream.

    Args:
        uri: `rtsp://`, `http://` and what else FFmpeg reads.
        config: Its patience.

    Raises:
        SourceError: It cannot be opened.
    """
    if uri.startswith("tcp://"):
        # OpenCV reads it from the environment alone. Set once and left: it harms no other stream, and changes of the
        # environment are not safe while other threads look at it. What the user has set stays.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _RAW)
    # Longer than the watchdog: who waits in a read is left alone by then, and ends by this.
    patience = (config.stall_timeout or 30.0) + 1.0
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(config.open_timeout * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(patience * 1000),
        # With more, FFmpeg decodes that many frames at once, and each comes a frame later.
        cv2.CAP_PROP_N_THREADS, 1,
    ]  # fmt: skip
    start = time.monotonic()
    capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, options)
    name = without_password(uri)
    if capture.isOpened():
        stream = CaptureDevice(capture)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if count > 0 and uri.startswith("http"):
            capture.release()
            raise SourceError(f"{name} is a file of {count:.0f} frames and no live stream: download it and give its path.")
        if stream.catch_up():
            if config.width or config.fps or config.fourcc:
                stream.warnings.append(
                    f"size, rate and format of the stream {name} are set at its camera: what was asked for is ignored."
                )
            return stream
    capture.release()
    late = f" within {config.open_timeout:g} s" if time.monotonic() - start >= config.open_timeout else ""
    raise SourceError(
        f"the stream {name} could not be opened{late}: check the address, the name and password, and that it is running."
    )


def check_pipeline(pipeline: str, name: str) -> None:
    """Refuse a GStreamer pipeline that cannot work here.

    Args:
        pipeline: As for `gst-launch-1.0`, with an `appsink` at its end.
        name: What to call it, without secrets.

    Raises:
        SourceError: OpenCV has no GStreamer.
        UsageError: The pipeline has no `appsink`.
    """
    if "appsink" not in pipeline:
        raise UsageError(f"{name} gives no pictures: a pipeline ends in '! videoconvert ! video/x-raw,format=BGR ! appsink'.")
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise SourceError(
            f"{name} needs an OpenCV with GStreamer, which that of PyPI is not: use the system's (python3-opencv, or that of "
            "JetPack) in an environment made with --system-site-packages."
        )


def open_gstreamer(pipeline: str, name: str) -> CaptureDevice:
    """Open a GStreamer pipeline that `check_pipeline` has let pass.

    Raises:
        SourceError: It does not run.
    """
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    device = CaptureDevice(capture)
    if capture.isOpened() and device.begin():
        return device
    capture.release()
    raise SourceError(f"{name} does not run: try it with gst-launch-1.0 (and fakesink in the place of appsink).")
