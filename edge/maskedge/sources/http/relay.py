"""Streams of a web server that FFmpeg reads: over the connection that is open, since small cameras serve one client alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.client import HTTPResponse

from maskedge.errors import SourceError
from maskedge.sources.config import SourceConfig
from maskedge.sources.devices import CaptureDevice, Device, open_ffmpeg

from .client import HttpClient


class _Relay(threading.Thread):
    """Hands what a server sends to FFmpeg, through a pipe.

    Args:
        client: Who asked.
        response: The answer.
        first: What was read of it already.
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
        """What FFmpeg opens."""
        return f"pipe:{self._output}"

    def run(self) -> None:
        """Work until one of both ends."""
        try:
            for piece in self._pieces():
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._input, view) :]
        except (OSError, SourceError):
            pass  # The reader of the pipe learns it by its end.
        finally:
            os.close(self._input)
            self._response.close()

    def _pieces(self) -> Iterator[bytes]:
        yield self._first
        while piece := self._client.read(self._response):
            yield piece

    def end(self) -> None:
        """End the connection, so that FFmpeg reads no more."""
        self._client.cut()

    def close(self) -> None:
        """Let go of the pipe and the connection."""
        if not self._closed:
            self._closed = True
            self.end()
            os.close(self._output)


class _RelayedCapture(CaptureDevice):
    """An opened `cv2.VideoCapture` that reads from a relay."""

    relay: _Relay | None = None

    def close(self) -> None:
        """Let go of both."""
        super().close()
        if self.relay is not None:
            self.relay.close()


def open_relay(client: HttpClient, response: HTTPResponse, first: bytes, config: SourceConfig) -> Device:
    """Let FFmpeg read an answer without end.

    Args:
        client: Who asked.
        response: The answer.
        first: What was read of it already.
        config: Its patience.

    Raises:
        SourceError: FFmpeg does not understand it.
    """
    relay = _Relay(client, response, first)
    relay.start()
    # FFmpeg cannot be called back from a pipe, but that can be ended.
    timer = threading.Timer(config.open_timeout, relay.end)
    timer.daemon = True
    timer.start()
    try:
        device = open_ffmpeg(relay.address, config, _RelayedCapture)
    finally:
        timer.cancel()
    if not isinstance(device, _RelayedCapture):
        relay.close()
        raise client.failure("the server answers, and its stream is not understood", "set its camera to MJPEG or MPEG-TS")
    device.relay = relay
    return device
