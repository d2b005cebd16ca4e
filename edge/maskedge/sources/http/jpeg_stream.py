"""JPEG pictures from a web server: a stream of pictures, or one picture per request."""

from __future__ import annotations

import time
from http.client import HTTPResponse

import cv2
import numpy as np

from maskedge.errors import SourceError
from maskedge.sources.config import SourceConfig
from maskedge.sources.devices.stream import ignored_options
from maskedge.support.pictures import decode_picture
from maskedge.types import Image

from .client import HttpClient, NotHttpError
from .jpeg_splitter import JpegScanner

_DRAIN = 0.05
"""Maximum time to read waiting bytes before the newest picture is decoded, in seconds."""
_MAX_SNAPSHOT_BYTES = 32 * 2**20
_SNAPSHOT_FPS = 2.0
_MAX_DAMAGED = 3
"""Maximum number of consecutive damaged snapshots. With more, the watchdog would report a missing
frame before the cause is known."""


class PictureStream:
    """Reads JPEG pictures from an endless response, and returns the newest of the waiting pictures.

    Args:
        client: Client that sent the request.
        response: The endless response.
        boundary: Boundary of its parts; empty if unknown.
        config: Its timeouts.
        first: Bytes that were already read from the response.
    """

    finite = False

    def __init__(
        self, client: HttpClient, response: HTTPResponse, boundary: bytes, config: SourceConfig, first: bytes = b""
    ) -> None:
        self.fps = 0.0
        self.skipped = 0
        self.warnings: list[str] = []
        self._client = client
        self._response = response
        self._scanner = JpegScanner(boundary)
        self._undecoded = 0
        self._pictures = self._scanner.feed(first)
        self._first = self._next(config.open_timeout)
        if self._first is None:
            raise self._unsupported()
        if config.width or config.fps or config.fourcc:
            self.warnings.append(ignored_options(client.name))

    @property
    def damaged(self) -> int:
        """Number of pictures that were left out."""
        return self._scanner.damaged + self._undecoded

    def read(self) -> Image | None:
        """Wait for the next picture. Return None at the end.

        Raises:
            SourceError: Bytes arrive, but do not contain a picture.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._next(self._client.read_timeout)

    def only_picture(self) -> Image | None:
        """Return the first picture if the response ends after it, or None if more bytes follow.

        Raises:
            SourceError: The response neither ends nor continues within the timeout.
        """
        end = time.monotonic() + self._client.read_timeout
        while not self._pictures and not self.skipped and not self.damaged and time.monotonic() < end:
            data = self._client.read(self._response)
            if not data:
                self.close()
                return self._first
            self._pictures += self._scanner.feed(data)
            if data.strip(b"\0\r\n"):
                break
        return None

    def close(self) -> None:
        """Close the connection."""
        self._client.disconnect()
        self._response.close()

    def _next(self, timeout: float) -> Image | None:
        end = time.monotonic() + timeout
        while True:
            if self._pictures:
                image = self._decode_newest()
                if image is not None:
                    return image
            if time.monotonic() > end:
                raise self._unsupported()
            data = self._client.read(self._response)
            if not data:
                return None
            self._pictures += self._scanner.feed(data)

    def _decode_newest(self) -> Image | None:
        end = time.monotonic() + _DRAIN
        while self._client.has_data(self._response) and time.monotonic() < end:
            data = self._client.read(self._response)
            if not data:
                break
            self._pictures += self._scanner.feed(data)
            self._drop_old()
        self._drop_old()
        image = _decode(self._pictures.pop())
        self._undecoded += image is None
        return image

    def _drop_old(self) -> None:
        self.skipped += len(self._pictures) - 1
        del self._pictures[:-1]

    def _unsupported(self) -> SourceError:
        found = f"its {self.damaged} pictures are damaged" if self.damaged else "it contains no JPEG picture"
        if self._scanner.part_type and not self._scanner.part_type.startswith("image/jp"):
            found = f"its parts are {self._scanner.part_type}"
        return self._client.failure(f"the format of the stream is not supported: {found}", "set the camera to MJPEG")


def _decode(jpeg: bytes) -> Image | None:
    try:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _decode_other(content: bytes) -> Image | None:
    try:
        return decode_picture(content)
    except ValueError:
        return None


class Snapshots:
    """Requests one picture after another from a server that returns one per request.

    Args:
        client: Client that sends the requests.
        first: First response of the server, or the picture already read from it (uint8, `[H, W,
            3]`, BGR).
        config: `fps` is the number of requests per second.

    Raises:
        SourceError: The first response is not a picture.
    """

    finite = False

    def __init__(self, client: HttpClient, first: HTTPResponse | Image, config: SourceConfig) -> None:
        self.fps = config.fps or _SNAPSHOT_FPS
        self.skipped = 0
        self.damaged = 0
        self.warnings = [
            f"{client.name} returns one picture per request, so it is requested {self.fps:g} times per second (set by fps): "
            "the address of a stream would deliver more pictures."
        ]
        self._client = client
        self._due = time.monotonic()
        self._first = self._take(first) if isinstance(first, HTTPResponse) else first
        if self._first is None:
            raise self._undecodable()

    def read(self) -> Image | None:
        """Wait until the next request is due, and return its picture.

        A damaged picture is left out.

        Raises:
            SourceError: The request failed, or several consecutive responses are not pictures.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        for _ in range(_MAX_DAMAGED):
            # If the server is slower than the rate, missed requests are not made up for.
            self._due = max(self._due + 1 / self.fps, time.monotonic())
            time.sleep(max(0.0, self._due - time.monotonic()))
            try:
                image = self._take(self._client.get())
            except NotHttpError:
                return None
            if image is not None:
                return image
            self.damaged += 1
        raise self._undecodable()

    def close(self) -> None:
        """Do nothing, because no connection is open between two requests."""

    def _take(self, response: HTTPResponse) -> Image | None:
        with response:
            content, end = bytearray(), time.monotonic() + self._client.read_timeout
            while (data := self._client.read(response)) and len(content) <= _MAX_SNAPSHOT_BYTES and time.monotonic() < end:
                content += data
        if content.startswith(b"\xff\xd8"):
            pictures = JpegScanner().feed(bytes(content))
            return _decode(pictures[0]) if pictures else None
        # Formats other than JPEG are rare here and do not need a scanner.
        return _decode_other(bytes(content))

    def _undecodable(self) -> SourceError:
        return self._client.failure("the server returns a picture that cannot be decoded", "check the address")
