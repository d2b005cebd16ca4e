"""Cameras that speak HTTP: the answer decides how they are read.

Multipart JPEG, the most frequent, is read here; a single picture is asked for again and again; anything else goes to FFmpeg, over
the same connection where it has no end, since small cameras serve one client alone.
"""

from __future__ import annotations

import re
from http.client import HTTPResponse

from maskedge.errors import SourceError
from maskedge.sources.address import split_address, without_password
from maskedge.sources.config import SourceConfig
from maskedge.sources.devices import Device, open_stream

from .client import HttpClient, NoHttpError
from .jpeg_stream import PictureStream, Snapshots
from .relay import open_relay

_PLAYLISTS = ("mpegurl", "dash+xml", "sdp")
_WITHOUT_HEADER = re.compile(rb"[\t\n\r -~]*\xff\xd8\xff|\s*--[\w-]")
"""How multipart JPEG begins, or JPEG one after the other."""


def open_http(uri: str, config: SourceConfig) -> Device:
    """Open an `http://` or `https://` stream.

    Args:
        uri: Its address.
        config: Its patience.

    Raises:
        SourceError: There is no stream; the text says what the server answers instead.
        UsageError: The address can be read in more than one way.
    """
    address = split_address(uri)
    if address is None:
        raise SourceError(f"{without_password(uri)} is no address.")
    client = HttpClient(address, config)
    try:
        response = client.get()
    except NoHttpError:
        # FFmpeg forgives more.
        return open_stream(uri, config)
    try:
        device = _open_answer(client, response, config)
    except BaseException:
        response.close()
        raise
    if device is None:
        response.close()
        device = open_stream(uri, config)
    device.warnings += client.warnings
    return device


def _open_answer(client: HttpClient, response: HTTPResponse, config: SourceConfig) -> Device | None:
    """Choose how to read an answer; None where FFmpeg has to ask itself."""
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
        # Without a length only the end of the answer tells that it was all.
        image = stream.only_picture()
        return stream if image is None else Snapshots(client, image, config)
    if any(name in media for name in _PLAYLISTS) or start.startswith((b"#extm3u", b"<?xml", b"<mpd", b"v=0")):
        return None
    if media in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html")):
        raise client.failure("the server answers with a web page", "give the address of the stream that the page shows")
    if not first or media.startswith("text/") or media == "application/json":
        what = media or "text" if first else "nothing"
        raise client.failure(f"the server answers with {what}, which is no stream", "check the address")
    if response.length is not None:
        return None
    return open_relay(client, response, first, config)
