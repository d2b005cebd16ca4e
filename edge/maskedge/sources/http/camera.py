"""Opening of cameras over HTTP. The response determines the reader.

- Multipart JPEG, the most common format, is read by `PictureStream`.
- A single picture is requested repeatedly by `Snapshots`.
- Other formats are read by FFmpeg. If the response is endless, FFmpeg reads it over the open
  connection, because small cameras serve only one client at a time. FFmpeg itself requests the
  segments of a playlist, and `SegmentedCapture` returns their frames one by one.
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
from .playlist import SegmentedCapture
from .relay import open_relay

_PLAYLISTS = ("mpegurl", "dash+xml")
_MAX_BLANK = 16
"""Maximum number of line breaks and blanks before the content of a stream."""
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
        device = _open_response(uri, client, response, config)
    except BaseException:
        response.close()
        raise
    device.warnings += client.warnings
    return device


def _open_response(uri: str, client: HttpClient, response: HTTPResponse, config: SourceConfig) -> Device:
    """Open a response by its type. For some types, FFmpeg sends its own request to `uri`."""
    kind = (response.headers.get("Content-Type") or "").lower()
    media = kind.partition(";")[0].strip()
    if media.startswith("multipart/"):
        boundary = re.search(r"boundary=\"?([^\";\s]+)", response.headers.get("Content-Type") or "", re.IGNORECASE)
        return PictureStream(client, response, (boundary[1] if boundary else "").encode("latin-1", "replace"), config)
    if media.startswith("image/") and response.length is not None:
        return Snapshots(client, response, config)
    first = client.read(response)
    # Small servers send the line break before the first boundary in a packet of its own.
    while first and not first.strip() and len(first) < _MAX_BLANK and (more := client.read(response)):
        first += more
    start = first.lstrip()[:15].lower()
    if media.startswith("image/") or _WITHOUT_HEADER.match(first):
        stream = PictureStream(client, response, b"", config, first)
        # Without a length, only the end of the response identifies a single picture.
        image = stream.only_picture()
        return stream if image is None else Snapshots(client, image, config)
    if "sdp" in media or start.startswith(b"v=0"):
        response.close()
        return open_stream(uri, config)
    if any(name in media for name in _PLAYLISTS) or start.startswith((b"#extm3u", b"<?xml", b"<mpd")):
        response.close()
        return open_stream(uri, config, SegmentedCapture)
    if media in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html")):
        raise client.failure("the server returns a web page", "give the address of the stream that the page shows")
    if not first or media.startswith("text/") or media == "application/json":
        what = media or "text" if first else "nothing"
        raise client.failure(f"the server returns {what}, which is not a stream", "check the address")
    if response.length is not None:
        response.close()
        return open_stream(uri, config)
    return open_relay(client, response, first, config)
