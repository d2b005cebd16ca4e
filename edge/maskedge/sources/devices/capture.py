"""Devices of live sources. One thread opens, reads and closes each device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

import cv2

from maskedge.sources.devices.pixels import PixelConverter
from maskedge.types import Image

MAX_FAILURES = 10
"""Maximum number of consecutive failed reads, as for damaged pictures, before a camera or a stream
counts as lost."""
_CATCH_UP = 1.0
"""Maximum time to discard old frames of a stream, in seconds."""
_WAITED = 0.005
"""A read that waited at least this many seconds for the network returned the newest frame."""


class Device(Protocol):
    """An open device that delivers pictures.

    Attributes:
        fps: Frames per second; 0 if unknown.
        finite: True if reaching the end is not a loss.
        skipped: Number of arrived frames that were not returned, because newer frames had arrived.
        damaged: Number of arrived pictures that could not be read.
        warnings: Differences from what was requested, one sentence each.
    """

    fps: float
    finite: bool
    skipped: int
    warnings: list[str]

    @property
    def damaged(self) -> int: ...  # noqa: D102  (see above)

    def read(self) -> Image | None:
        """Wait for the next picture, uint8 `[H, W, 3]` BGR. Return None at the end.

        Raises:
            SourceError: The device delivers no more pictures, and the cause is known.
        """
        ...

    def close(self) -> None:
        """Release the device."""
        ...


Opener: TypeAlias = Callable[[], Device]
"""Opens a device, at first or after a loss. Raises `SourceError` with the cause of a failure."""


class CaptureDevice:
    """An open `cv2.VideoCapture`.

    A damaged picture makes one read fail, and the next read may succeed. After the end of a stream,
    all reads fail at once. A read is therefore attempted up to 10 times within `read_timeout`. An
    ended stream is thus detected quickly, and the library's own timeout is not followed by a second
    one.

    Args:
        capture: The opened capture.
        pause: Seconds to wait after a failed read.
        read_timeout: Seconds within which a picture must arrive.
        converter: Converts pictures to 8-bit BGR.

    Attributes:
        length: Number of frames of a file; 0 for an endless stream.
    """

    finite = False

    def __init__(
        self, capture: cv2.VideoCapture, *, pause: float = 0.0, read_timeout: float = 5.0, converter: PixelConverter | None = None
    ) -> None:
        self._capture = capture
        self._pause = pause
        self._read_timeout = read_timeout
        self._converter = converter or PixelConverter()
        self._first: Image | None = None
        self.fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.length = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.skipped = 0
        self.damaged = 0
        self.warnings: list[str] = []

    def begin(self) -> bool:
        """Read the first picture. The first call of `read` returns it.

        Return False if there is no picture.
        """
        self._first = self._read_with_retries(self._take)
        return self._first is not None

    def catch_up(self) -> bool:
        """Discard buffered frames until a read has to wait for a new one.

        Return False when there is none.

        Servers, the network and FFmpeg's probing buffer frames. Without this step, the first
        seconds would be delayed.
        """
        deadline = time.monotonic() + _CATCH_UP

        def take_fresh() -> Image | None:
            while True:
                start, busy = time.perf_counter(), time.thread_time()
                if not self._capture.grab():
                    return None
                waited = (time.perf_counter() - start) - (time.thread_time() - busy)
                if waited >= _WAITED or time.monotonic() > deadline:
                    return self._convert(*self._capture.retrieve())
                self.skipped += 1

        self._first = self._read_with_retries(take_fresh)
        return self._first is not None

    def read(self) -> Image | None:
        """Wait for the next picture. Return None at the end.

        Raises:
            SourceError: The pixel format is not supported.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._read_with_retries(self._take)

    def _take(self) -> Image | None:
        return self._convert(*self._capture.read())

    def _convert(self, ready: bool, image: object) -> Image | None:
        return self._converter.convert(image) if ready else None

    def _read_with_retries(self, take: Callable[[], Image | None]) -> Image | None:
        start = time.monotonic()
        for failures in range(MAX_FAILURES):
            if failures:
                if time.monotonic() - start > self._read_timeout:
                    break
                time.sleep(self._pause)
            image = take()
            if image is not None:
                self.damaged += failures
                return image
        return None

    def close(self) -> None:
        """Release the device."""
        self._capture.release()
