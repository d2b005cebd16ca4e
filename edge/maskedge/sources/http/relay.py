"""A relay that passes an open connection to FFmpeg.

Small cameras serve only one client at a time, so FFmpeg cannot open a connection of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.client import HTTPResponse

from maskedge.errors import SourceError
from maskedge.sources.config import SourceConfig
from maskedge.sources.devices.capture import CaptureDevice, Device
from maskedge.sources.devices.stream import open_ffmpeg

from .client import HttpClient


class _Relay(threading.Thread):
    """Passes a response to FFmpeg through a pipe.

    Args:
        client: Client that sent the request.
        response: Its response.
        first: Bytes that were already read from it.
    """

    def __init__(self, client: HttpClient, response: HTTPResponse, first: bytes) -> None:
        super().__init__(name=f"relay {client.name}", daemon=True)
        self._client = client
        self._response = response
        self._first = first
        self._output, self._input = os.pipe()
        self._closed = False

    @property
    def address(self) -> str:
        """Name under which FFmpeg opens the pipe."""
        return f"pipe:{self._output}"

    def run(self) -> None:
        """Copy until the response ends or FFmpeg closes the pipe."""
        try:
            for piece in self._pieces():
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._input, view) :]
        except (OSError, SourceError):
            pass  # the reader is informed by the end of the pipe
        finally:
            os.close(self._input)
            self._response.close()

    def _pieces(self) -> Iterator[bytes]:
        yield self._first
        while piece := self._client.read(self._response):
            yield piece

    def end(self) -> None:
        """Close the connection. This ends the pipe."""
        self._client.disconnect()

    def close(self) -> None:
        """Close the pipe and the connection."""
        if not self._closed:
            self._closed = True
            self.end()
            os.close(self._output)


class _RelayedCapture(CaptureDevice):
    """An open `cv2.VideoCapture` that reads from a relay."""

    relay: _Relay | None = None

    def close(self) -> None:
        """Close the capture and the relay."""
        super().close()
        if self.relay is not None:
            self.relay.close()


def open_relay(client: HttpClient, response: HTTPResponse, first: bytes, config: SourceConfig) -> Device:
    """Open an endless response with FFmpeg.

    Args:
        client: Client that sent the request.
        response: Its response.
        first: Bytes that were already read from it.
        config: Its timeouts.

    Raises:
        SourceError: FFmpeg does not support the format.
    """
    relay = _Relay(client, response, first)
    relay.start()
    # FFmpeg cannot be interrupted while it reads a pipe. Ending the pipe ends the read.
    timer = threading.Timer(config.open_timeout, relay.end)
    timer.daemon = True
    timer.start()
    try:
        device = open_ffmpeg(relay.address, config, _RelayedCapture)
    finally:
        timer.cancel()
    if not isinstance(device, _RelayedCapture):
        relay.close()
        raise client.failure("the format of the stream is not supported", "set the camera to MJPEG or MPEG-TS")
    device.relay = relay
    return device
