"""Download of a model file over HTTPS, with limits on size and time."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import ssl
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from maskedge.errors import MaskedgeError, ModelError, SourceError, UsageError
from maskedge.support.network.deadline import HTTPHandler, HTTPSHandler
from maskedge.support.network.tls import client_tls
from maskedge.support.text import displayable
from maskedge.version import VERSION

_CHUNK = 65536
_SOCKET_SECONDS = 30.0
"""Maximum seconds until the headers of a response, and for which a server may send nothing."""
_LONGEST = 600.0
"""Maximum seconds of a download."""
_MOST_REDIRECTS = 5


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to addresses that a download may have."""

    max_redirections = _MOST_REDIRECTS

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage) -> Any:
        """Follow a redirect."""
        check_address(urljoin(req.full_url, headers.get("location") or headers.get("uri") or ""))
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def check_address(address: str) -> str:
    """Check that a file may be downloaded from an address.

    Args:
        address: `https://...`; plain `http://...` only on this machine.

    Returns:
        The address without its query, which may hold a secret, for messages.

    Raises:
        ModelError: The address is of another kind.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ModelError("the address of the model is not valid: give an address https://...") from None
    if parts.username is not None or parts.password is not None:
        raise ModelError("the address of the model must not contain a password: leave it out.")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise ModelError(f"a model is downloaded over https only, not from {parts.scheme[:10] or 'no scheme'}://: give https://...")
    return displayable(f"{parts.scheme}://{parts.netloc}{parts.path}")[:200]


def download(address: str, size: int, sha256: str, *, ca_file: Path | None = None) -> bytes:
    """Download a file.

    Args:
        address: See `check_address`.
        size: Its size in bytes.
        sha256: Its SHA-256, hex digits.
        ca_file: Certificates that the server's certificate is verified with, PEM; None for those of
            the system.

    Raises:
        ModelError: The address is not allowed, or the file has another size or checksum.
        SourceError: The server cannot be reached, or does not deliver the file.
        UsageError: `ca_file` cannot be used.
    """
    name = check_address(address)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(context=_tls(ca_file)),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(address, headers={"User-Agent": f"maskedge/{VERSION}"})  # noqa: S310  (checked)
    try:
        with contextlib.closing(opener.open(request, timeout=_SOCKET_SECONDS)) as response:
            content = _read(response, size, name)
    except MaskedgeError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceError(f"the model could not be downloaded from {name} (the server returns {error.code}): try again.") from None
    except (OSError, HTTPException, ValueError) as error:
        raise SourceError(
            f"the model could not be downloaded from {name} ({_reason(error)}): check the network and the address."
        ) from None
    if len(content) != size:
        raise ModelError(f"the download from {name} has {len(content)} bytes instead of {size}: it was cut off, try again.")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"the download from {name} is not the file that was announced (SHA-256 differs): upload it again.")
    return content


def _read(response: HTTPResponse, size: int, name: str) -> bytes:
    """Read a response, at most one byte more than the expected size."""
    declared = response.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) != size:
        raise ModelError(f"the file at {name} has {declared[:20]} bytes instead of {size}: upload it again.")
    end = time.monotonic() + _LONGEST
    content = bytearray()
    while len(content) <= size:
        part = response.read1(min(_CHUNK, size + 1 - len(content)))
        if not part:
            break
        content += part
        if time.monotonic() > end:
            raise SourceError(f"the download from {name} took more than {_LONGEST:g} s: check the network.")
    if len(content) > size:
        raise ModelError(f"the file at {name} is larger than the announced {size} bytes: upload it again.")
    return bytes(content)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return client_tls(None if ca_file is None else ca_file.expanduser())
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or "it is not PEM"
        raise UsageError(f"the certificates {displayable(ca_file)} cannot be used ({reason}): check the path.") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: Any) -> str:
    """Return the cause of an error of the network in words. The library's text may hold the address."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message or cause.reason}"
    if isinstance(cause, TimeoutError):
        return f"no response within {_SOCKET_SECONDS:g} s"
    if isinstance(cause, OSError) and cause.strerror:
        return str(cause.strerror)
    return type(cause).__name__
