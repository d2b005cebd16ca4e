"""Addresses from which a device downloads a model. They expire and need no token."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from urllib.parse import urlencode


def download_url(base: str, sha256: str, expires: datetime, secret: bytes) -> str:
    """Return the address of a model file.

    Args:
        base: Address of the server, such as `https://fleet.example.org`.
        sha256: Checksum of the model.
        expires: When the address expires.
        secret: Secret of the server (`CommandSigner.download_secret`).
    """
    until = int(expires.timestamp())
    query = urlencode({"expires": until, "signature": _signature(sha256, until, secret)})
    return f"{base.rstrip('/')}/api/v1/models/{sha256}/file?{query}"


def is_valid_download(sha256: str, expires: int, signature: str, secret: bytes, now: datetime) -> bool:
    """Return True if the query of an address is genuine and has not expired."""
    expected = _signature(sha256, expires, secret)
    genuine = hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))
    return genuine and now.timestamp() <= expires


def _signature(sha256: str, expires: int, secret: bytes) -> str:
    return hmac.new(secret, f"{sha256}\n{expires}".encode(), hashlib.sha256).hexdigest()
