"""Opening of cameras over HTTP. The response determines the reader.

- Multipart JPEG, the most common format, is read by `PictureStream`.
- A single picture is requested repeatedly by `Snapshots`.
- Other formats are read by FFmpeg. If the response is endless, FFmpeg reads it over the open
  connection, because small cameras serve only one client at a time.
"""

from __future__ import annotations

import re
from http.client import HTTPResponse

from maskedge.errors import SourceError
from maskedge.sources.address import split_address, without_password
from maskedge.sources.config import SourceConfig
from maskedge.sources.devices.capture import Device
from maskedge.sources.devices.stream import open_stream

from .client import HttpClient, NotHttpError
from .jpeg_stream import PictureStream, Snapshots
from .relay import open_relay

_PLAYLISTS = ("mpegurl", "dash+xml", "sdp")
_WITHOUT_HEADER = re.compile(rb"[\t\n\r -~]*\xff\xd8\xff|\s*--[\w-]")
"""First bytes of multipart JPEG, and of consecutive JPEGs."""


def open_http(uri: str, config: SourceConfig) -> Device:
    """Open an `http://` or `https://` stream.

    Args:
        uri: Its address.
        config: Its timeouts.

    Raises:
        SourceError: The server does not return a stream. The message names its response.
        UsageError: The address is ambiguous.
    """
    address = split_address(uri)
    if address is None:
        raise SourceError(f"{without_password(uri)} is not an address: give one, as in http://camera/video.")
    client = HttpClient(address, config)
    try:
        response = client.get()
    except NotHttpError:
        # FFmpeg accepts responses that HTTP does not allow.
        return open_stream(uri, config)
    try:
        device = _open_response(client, response, config)
    except BaseException:
        response.close()
        raise
    if device is None:
        response.close()
        device = open_stream(uri, config)
    device.warnings += client.warnings
    return device


def _open_response(client: HttpClient, response: HTTPResponse, config: SourceConfig) -> Device | None:
    """Open a response by its type. Return None if FFmpeg must send its own request."""
    kind = (response.headers.get("Content-Type") or "").lower()
    media = kind.partition(";")[0].strip()
    if media.startswith("multipart/"):
        boundary = re.search(r"boundary=\"?([^\";\s]+)", response.headers.get("Content-Type") or "", re.IGNORECASE)
        return PictureStream(client, response, (boundary[1] if boundary else "").encode("latin-1", "replace"), config)
    if media.startswith("image/") and response.length is not None:
        return Snapshots(client, response, config)
    first = client.read(response)
    start = first.lstrip()[:15].lower()
    if media.startswith("image/") or _WITHOUT_HEADER.match(first):
        stream = PictureStream(client, response, b"", config, first)
        # Without a length, only the end of the response identifies a single picture.
        image = stream.only_picture()
        return stream if image is None else Snapshots(client, image, config)
    if any(name in media for name in _PLAYLISTS) or start.startswith((b"#extm3u", b"<?xml", b"<mpd", b"v=0")):
        return None
    if media in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html")):
        raise client.failure("the server returns a web page", "give the address of the stream that the page shows")
    if not first or media.startswith("text/") or media == "application/json":
        what = media or "text" if first else "nothing"
        raise client.failure(f"the server returns {what}, which is not a stream", "check the address")
    if response.length is not None:
        return None
    return open_relay(client, response, first, config)
