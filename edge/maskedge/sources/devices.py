"""What a live source reads from: a camera, a stream, a GStreamer pipeline. Each is opened, read and closed by one thread."""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import cv2

from maskedge.errors import SourceError, UsageError
from maskedge.types import Image

from .address import PERCENT_HINT, split_address, without_password
from .config import SourceConfig
from .pixels import PixelConverter

_FAILURES = 10
"""Reads in a row that may fail (a damaged picture) before a camera or a stream counts as lost."""
_CAMERA_PAUSE = 0.03
"""Seconds before a camera is read again after a failure: its driver returns at once."""
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
        skipped: Frames that arrived and were not given, since newer ones had arrived too, so far.
        damaged: Pictures that arrived and could not be read, so far.
        warnings: Where it does not give what was asked for (one sentence each).
    """

    fps: float
    finite: bool
    skipped: int
    warnings: list[str]

    @property
    def damaged(self) -> int: ...  # noqa: D102  (see above)

    def read(self) -> Image | None:
        """Wait for the next picture, uint8 `[H, W, 3]` BGR; None when there is none any more.

        Raises:
            SourceError: There is none any more, and it is known why.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


Opener: TypeAlias = Callable[[], Device]
"""Opens the device, now or once more; raises SourceError with the reason when it cannot."""


class CaptureDevice:
    """An opened `cv2.VideoCapture`.

    A damaged picture makes a read fail, and the next one may succeed: so may the end of a stream make it fail, but then all
    further reads fail at once. Hence some may fail, as long as together they take no longer than the patience: an end is noticed
    without delay, and a silence, which a timeout of the library ends, is not waited for twice.

    Args:
        capture: It.
        pause: Seconds to wait after a read that failed.
        patience: Seconds within which a picture must come.
        converter: Brings its pictures to 8 bits BGR.

    Attributes:
        length: Frames of a file, 0 where there is no end.
    """

    finite = False

    def __init__(
        self, capture: cv2.VideoCapture, *, pause: float = 0.0, patience: float = 5.0, converter: PixelConverter | None = None
    ) -> None:
        self._capture = capture
        self._pause = pause
        self._patience = patience
        self._converter = converter or PixelConverter()
        self._first: Image | None = None
        self.fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.length = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.skipped = 0
        self.damaged = 0
        self.warnings: list[str] = []

    def begin(self) -> bool:
        """Read the first picture, which `read` gives then; False when there is none."""
        self._first = self._try_hard(self._take)
        return self._first is not None

    def catch_up(self) -> bool:
        """Read away what was waiting in buffers, up to a picture that had to be waited for; False when there is none.

        Servers, the network and FFmpeg's probing hold frames back: without this the first seconds would show the past.
        """
        deadline = time.monotonic() + _CATCH_UP

        def take_fresh() -> Image | None:
            while True:
                start, busy = time.perf_counter(), time.thread_time()
                if not self._capture.grab():
                    return None
                waited = (time.perf_counter() - start) - (time.thread_time() - busy)
                if waited >= _WAITED or time.monotonic() > deadline:
                    return _picture(*self._capture.retrieve(), self._converter)
                self.skipped += 1

        self._first = self._try_hard(take_fresh)
        return self._first is not None

    def read(self) -> Image | None:
        """Wait for the next picture; None when there is none any more.

        Raises:
            SourceError: Its format cannot be read.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._try_hard(self._take)

    def _take(self) -> Image | None:
        return _picture(*self._capture.read(), self._converter)

    def _try_hard(self, take: Callable[[], Image | None]) -> Image | None:
        start = time.monotonic()
        for failures in range(_FAILURES):
            if failures:
                if time.monotonic() - start > self._patience:
                    break
                time.sleep(self._pause)
            image = take()
            if image is not None:
                self.damaged += failures
                return image
        return None

    def close(self) -> None:
        """Let go of it."""
        self._capture.release()


def _picture(ready: bool, image: object, converter: PixelConverter | None = None) -> Image | None:
    """Give the picture that OpenCV read, always 8 bits and in colour; None when it read none."""
    return (converter or PixelConverter()).convert(image) if ready else None


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


def is_character_device(path: str) -> bool:
    """Tell whether a path is a character device, as cameras are, or a link to one, as udev makes them."""
    try:
        return stat.S_ISCHR(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def open_camera(device: str, config: SourceConfig) -> CaptureDevice:
    """Open a camera of V4L2 (USB, or a CSI camera with an old driver).

    Args:
        device: Its number, or its path (`/dev/video0`, `/dev/v4l/by-id/..`, a link of udev).
        config: What to ask it for.

    Raises:
        SourceError: It cannot be opened; the text says which devices exist and what to try.
    """
    # A link is followed at every attempt: it may lead to another number when the camera is back.
    number = re.fullmatch(r"(?:/dev/video)?(\d{1,9})", os.path.realpath(device) if device.startswith("/") else device)
    backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    capture = cv2.VideoCapture(int(number[1]) if number else device, backend)
    if capture.isOpened():
        warnings = _set_up(capture, device, config)
        camera = CaptureDevice(capture, pause=_CAMERA_PAUSE, patience=config.stall_timeout or 30.0)
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
    """Open a network stream with FFmpeg.

    Args:
        uri: `rtsp://`, `tcp://` and what else FFmpeg reads.
        config: Its patience.

    Raises:
        SourceError: It cannot be opened.
        UsageError: The address can be read in more than one way.
    """
    address = split_address(uri)
    full = uri if address is None else address.full
    if full.startswith("tcp://"):
        # OpenCV reads it from the environment alone. Set once and left: it harms no other stream, and changes of the
        # environment are not safe while other threads look at it. What the user has set stays.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _RAW)
    start = time.monotonic()
    name = without_password(full)
    stream = open_ffmpeg(full, config)
    if stream is not None:
        if full.startswith("http") and stream.length > 0:
            stream.close()
            raise SourceError(f"{name} is a file of {stream.length} frames and no live stream: download it and give its path.")
        if config.width or config.fps or config.fourcc:
            stream.warnings.append(
                f"size, rate and format of the stream {name} are set at its camera: what was asked for is ignored."
            )
        return stream
    late = f" within {config.open_timeout:g} s" if time.monotonic() - start >= config.open_timeout else ""
    hint = f"; {PERCENT_HINT}" if address is not None and (address.doubtful or address.user) else ""
    raise SourceError(
        f"the stream {name} could not be opened{late}: check the address, the name and password, and that it is running{hint}."
    )


def open_ffmpeg(address: str, config: SourceConfig, kind: type[CaptureDevice] = CaptureDevice) -> CaptureDevice | None:
    """Open what FFmpeg reads, up to its newest picture.

    Args:
        address: For FFmpeg, with every secret.
        config: Its patience.
        kind: What to make of it.

    Returns:
        It; None where there is no picture in it.
    """
    # Longer than the watchdog: who waits in a read is left alone by then, and ends by this.
    patience = (config.stall_timeout or 30.0) + 1.0
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(config.open_timeout * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(patience * 1000),
        # With more, FFmpeg decodes that many frames at once, and each comes a frame later.
        cv2.CAP_PROP_N_THREADS, 1,
    ]  # fmt: skip
    capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, options)
    if capture.isOpened():
        stream = kind(capture, patience=config.stall_timeout or 30.0)
        # A file of a web server is refused by its length: to read it away first would take its time.
        if (stream.length > 0 and address.startswith("http")) or stream.catch_up():
            return stream
    capture.release()
    return None


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
    converter = PixelConverter(pipeline, round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    device = CaptureDevice(capture, converter=converter)
    if capture.isOpened() and device.begin():
        return device
    capture.release()
    raise SourceError(f"{name} does not run: try it with gst-launch-1.0 (and fakesink in the place of appsink).")
