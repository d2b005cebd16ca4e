"""Cameras that speak HTTP: the answer decides how they are read.

Multipart JPEG, the most frequent, is read here; a single picture is asked for again and again; anything else goes to FFmpeg, over
the same connection where it has no end, since small cameras serve one client alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected
from typing import Any

import cv2
import numpy as np

from maskedge import __version__
from maskedge.errors import SourceError
from maskedge.types import Image

from .address import PERCENT_HINT, Address, split_address, without_password
from .config import SourceConfig
from .devices import CaptureDevice, Device, open_ffmpeg, open_stream
from .jpegs import JpegScanner

_CHUNK = 65536
_DRAIN = 0.05
"""Seconds at most to read away what waits, before the newest picture is decoded."""
_MOST_SNAPSHOT = 32 * 2**20
_SNAPSHOT_FPS = 2.0
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
    client = _Client(address, config)
    try:
        response = client.get()
    except _NoHttpError:
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


def _open_answer(client: _Client, response: HTTPResponse, config: SourceConfig) -> Device | None:
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
        return PictureStream(client, response, b"", config, first)
    if any(name in media for name in _PLAYLISTS) or start.startswith((b"#extm3u", b"<?xml", b"<mpd", b"v=0")):
        return None
    if media in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html")):
        raise client.failure("the server answers with a web page", "give the address of the stream that the page shows")
    if not first or media.startswith("text/") or media == "application/json":
        what = media or "text" if first else "nothing"
        raise client.failure(f"the server answers with {what}, which is no stream", "check the address")
    if response.length is not None:
        return None
    return _open_relay(client, response, first, config)


class _NoHttpError(Exception):
    """The server speaks something that only resembles HTTP."""


class _Client:
    """Asks a server, with the user's name and password where it wants them.

    Args:
        address: Of the stream.
        config: Its patience.
    """

    def __init__(self, address: Address, config: SourceConfig) -> None:
        self.name = without_password(address.full)
        self.warnings: list[str] = []
        self.patience = (config.stall_timeout or 30.0) + 1.0
        self._address = address
        self._timeout = config.open_timeout
        self._connections: list[Any] = []
        self._context = ssl.create_default_context()

    def get(self) -> HTTPResponse:
        """Send the request, follow redirects, and give the answer, of status 200.

        Raises:
            SourceError: There is none.
            _NoHttpError: It is none of HTTP.
        """
        while True:
            try:
                return self._get()
            except ssl.SSLCertVerificationError as error:
                if self._context.verify_mode is ssl.CERT_NONE:
                    raise self._unreachable(error) from None
                # Cameras sign their certificates themselves. Who listens in between is shut out, who stands in between is not.
                self.warnings.append(
                    f"the certificate of {self.name} could not be verified ({error.verify_message or error.reason}): "
                    "the connection is encrypted, but may be to another than the camera."
                )
                self._context.check_hostname = False
                self._context.verify_mode = ssl.CERT_NONE

    def _get(self) -> HTTPResponse:
        self._connections.clear()
        agent = {"User-Agent": f"maskedge/{__version__}", "Accept": "*/*"}
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.cut()

        # The timeout of a socket begins anew with every byte.
        timer = threading.Timer(self._timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            request = urllib.request.Request(self._address.bare.partition("#")[0], headers=agent)  # noqa: S310  (http or https)
            response: HTTPResponse = self._opener().open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refused(error) from None
        except RemoteDisconnected:
            raise self._late(late) or self.failure("the server closed the connection without an answer", "try again") from None
        except BadStatusLine:
            raise _NoHttpError from None
        except (urllib.error.URLError, OSError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise reason from None
            raise self._late(late) or self._unreachable(reason) from None
        except (HTTPException, ValueError) as error:
            raise self._late(late) or self._misunderstood(error) from None
        finally:
            timer.cancel()
        if late.is_set():
            response.close()
            raise self.failure(f"there was no answer within {self._timeout:g} s", "check that it is running")
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.settimeout(self.patience)
        if response.status != 200:
            response.close()
            raise self.failure(f"the server answers {response.status} {response.reason}".rstrip(), "check the address")
        return response

    def _opener(self) -> urllib.request.OpenerDirector:
        """Give what opens http and https and nothing else."""
        client = self

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                client._connections.append(self.sock)

        class Encrypted(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                client._connections.append(self.sock)

        class Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
            def __init__(self) -> None:
                super().__init__()

            def http_open(self, req: urllib.request.Request) -> HTTPResponse:
                return self.do_open(Plain, req)

            def https_open(self, req: urllib.request.Request) -> HTTPResponse:
                return self.do_open(Encrypted, req, context=client._context)

        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        credentials = self._address.credentials
        if credentials is not None:
            host = re.split("[/?#]", self._address.rest, maxsplit=1)[0]
            # A camera may send its clients from http to https, but not to another machine with the password.
            passwords.add_password(
                None, [self._address.bare, f"{self._address.scheme}://{host}", f"https://{_without_port(host)}"], *credentials
            )
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            Handler(),
            urllib.request.HTTPDigestAuthHandler(passwords),
            urllib.request.HTTPBasicAuthHandler(passwords),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
        ):
            opener.add_handler(handler)
        return opener

    def read(self, response: HTTPResponse) -> bytes:
        """Wait for the next bytes of an answer; nothing at its end.

        Raises:
            SourceError: None came within the patience.
        """
        try:
            return response.read1(_CHUNK)
        except TimeoutError:
            raise SourceError(f"{self.name} sent nothing for {self.patience:g} s: check the cable or the network.") from None
        except (OSError, HTTPException, ValueError):
            return b""

    def more(self, response: HTTPResponse) -> bool:
        """Tell whether bytes wait to be read."""
        try:
            return bool(select.select([response.fileno()], [], [], 0)[0])
        except (OSError, ValueError):
            return False

    def cut(self) -> None:
        """End what another thread waits for."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def failure(self, reason: str, remedy: str) -> SourceError:
        """Make the failure to open the stream."""
        return SourceError(f"the stream {self.name} could not be opened ({reason}): {remedy}.")

    def _late(self, late: threading.Event) -> SourceError | None:
        if not late.is_set():
            return None
        return SourceError(
            f"the stream {self.name} could not be opened within {self._timeout:g} s: check the address, and that it is running."
        )

    def _unreachable(self, reason: Any) -> SourceError:
        if isinstance(reason, TimeoutError):
            reason = f"it did not answer within {self._timeout:g} s"
        elif isinstance(reason, ssl.SSLError):
            reason = f"no encrypted connection: {' '.join(str(reason.reason or reason).split())}"
        elif isinstance(reason, OSError):
            reason = reason.strerror or type(reason).__name__
        remedy = "check the address, and that it is running"
        return self.failure(str(reason), f"{remedy}; {PERCENT_HINT}" if self._address.doubtful else remedy)

    def _misunderstood(self, error: Exception) -> SourceError:
        # Their words may hold the address.
        if "authentication" in str(error).lower():
            kind = "a kind of authentication that is not known here"
            return self.failure(f"the server asks for {kind}", "set its camera to Digest or Basic")
        return self.failure(f"the address or the answer is no proper HTTP, {type(error).__name__}", "check the address")

    def _refused(self, error: urllib.error.HTTPError) -> SourceError:
        reason, remedy = f"the server answers {error.code} {error.reason}", "check the address"
        if error.code == 401 and self._address.credentials is None:
            reason, remedy = "the server asks for a name and a password", f"write {self._address.scheme}://NAME:PASSWORD@HOST/..."
        elif error.code == 401:
            reason, remedy = "the server does not take the name and password", f"check them; {PERCENT_HINT}"
        elif error.code == 403:
            reason, remedy = "the server answers 403 Forbidden", "check the rights of the user at the camera"
        elif 300 <= error.code < 400:
            reason = f"the server answers {error.code} and sends us round in circles, or to what is no http"
        elif error.code >= 500:
            remedy = "the camera is busy or broken: try again, restart it"
        return self.failure(" ".join(reason.split()), remedy)


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host)


class PictureStream:
    """Reads JPEG pictures out of an answer without end. Of several that wait, the newest is given.

    Args:
        client: Who asked.
        response: The answer.
        boundary: Of its parts, empty where it is not known.
        config: Its patience.
        first: What was read of it already.
    """

    finite = False

    def __init__(self, client: _Client, response: HTTPResponse, boundary: bytes, config: SourceConfig, first: bytes = b"") -> None:
        self.fps = 0.0
        self.skipped = 0
        self.warnings: list[str] = []
        self._client = client
        self._response = response
        self._scanner = JpegScanner(boundary)
        self._undecoded = 0
        self._pictures = self._scanner.feed(first)
        self._given = 0
        self._first = self._next(config.open_timeout)
        if self._first is None:
            raise self._nothing()
        if config.width or config.fps or config.fourcc:
            self.warnings.append(
                f"size, rate and format of the stream {client.name} are set at its camera: what was asked for is ignored."
            )

    @property
    def damaged(self) -> int:
        """Pictures that were left out, so far."""
        return self._scanner.damaged + self._undecoded

    def read(self) -> Image | None:
        """Wait for the next picture; None when there is none any more.

        Raises:
            SourceError: Bytes come, but no picture.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._next(self._client.patience)

    def close(self) -> None:
        """End the connection."""
        self._client.cut()
        self._response.close()

    def _next(self, patience: float) -> Image | None:
        end = time.monotonic() + patience
        while True:
            if self._pictures:
                image = self._decode_newest()
                if image is not None:
                    self._given += 1
                    return image
            if time.monotonic() > end:
                raise self._nothing()
            data = self._client.read(self._response)
            if not data:
                return None
            self._pictures += self._scanner.feed(data)

    def _decode_newest(self) -> Image | None:
        end = time.monotonic() + _DRAIN
        while self._client.more(self._response) and time.monotonic() < end:
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

    def _nothing(self) -> SourceError:
        found = f" its {self.damaged} pictures are damaged" if self.damaged else " it holds no JPEG picture"
        if self._scanner.part_type and not self._scanner.part_type.startswith("image/jp"):
            found = f" its parts are {self._scanner.part_type}"
        return self._client.failure(f"the server answers, and its stream is not understood:{found}", "set its camera to MJPEG")


def _decode(jpeg: bytes) -> Image | None:
    try:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


class Snapshots:
    """A server that gives one picture a request: it is asked again and again.

    Args:
        client: Who asks.
        response: The first answer.
        config: `fps` is the rate.

    Raises:
        SourceError: Its first answer is no picture.
    """

    finite = False
    damaged = 0

    def __init__(self, client: _Client, response: HTTPResponse, config: SourceConfig) -> None:
        self.fps = config.fps or _SNAPSHOT_FPS
        self.skipped = 0
        self.warnings = [
            f"{client.name} gives a single picture a request: it is asked {self.fps:g} times a second (fps sets that); "
            "the address of a stream gives more."
        ]
        self._client = client
        self._due = time.monotonic()
        self._first: Image | None = self._take(response)

    def read(self) -> Image | None:
        """Wait until it is time, and ask for the next picture.

        Raises:
            SourceError: There is none.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        # Where the server is slower than the rate, what was missed is not made up for.
        self._due = max(self._due + 1 / self.fps, time.monotonic())
        time.sleep(max(0.0, self._due - time.monotonic()))
        try:
            return self._take(self._client.get())
        except _NoHttpError:
            return None

    def close(self) -> None:
        """Nothing is held between two requests."""

    def _take(self, response: HTTPResponse) -> Image:
        with response:
            content, end = bytearray(), time.monotonic() + self._client.patience
            while (data := self._client.read(response)) and len(content) <= _MOST_SNAPSHOT and time.monotonic() < end:
                content += data
        # Other formats than JPEG are rare here, and need no scanner.
        pictures = JpegScanner().feed(bytes(content)) if content.startswith(b"\xff\xd8") else [bytes(content)]
        image = _decode(pictures[0]) if pictures and content else None
        if image is None:
            raise self._client.failure("the server answers with a picture that cannot be read", "check the address")
        return image


class _Relay(threading.Thread):
    """Hands what a server sends to FFmpeg, through a pipe.

    Args:
        client: Who asked.
        response: The answer.
        first: What was read of it already.
    """

    def __init__(self, client: _Client, response: HTTPResponse, first: bytes) -> None:
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


def _open_relay(client: _Client, response: HTTPResponse, first: bytes, config: SourceConfig) -> Device:
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
