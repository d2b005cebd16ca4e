"""Basic and Digest authentication of HTTP cameras."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage, HTTPResponse
from typing import Any

_SCHEME = re.compile(r"(?:^|,)[ \t]*([A-Za-z][\w-]*)(?=[ \t]+[^\s=]|[ \t]*$)", re.MULTILINE)
"""Name of a scheme in `WWW-Authenticate`. One header may contain several challenges."""
_QUOTED = re.compile(r'"(?:[^"\\\r\n]|\\.)*"?')
"""A quoted text. Without its last quotation mark, it ends with the line."""
_FIELD = re.compile(rf'(?<![\w-])([\w-]+)[ \t]*=[ \t]*({_QUOTED.pattern}|[^",\r\n]+)')
"""Name and value of a field of a challenge. An empty value without quotes counts as absent."""
_DIGESTS = {"MD5": "md5", "SHA": "sha1", "SHA-256": "sha256"}
_MAX_STALE = 3
"""Maximum number of further attempts when the server says that its nonce has expired."""


class UnsupportedAuthenticationError(Exception):
    """The server offers neither Basic nor a supported kind of Digest."""


class Passwords(urllib.request.HTTPPasswordMgrWithDefaultRealm):
    """Names and passwords by address.

    The class of the standard library ignores the scheme of an address, and would send a password
    for `https://` over `http://`.
    """

    def reduce_uri(self, uri: str, default_port: bool = True) -> tuple[str, str]:
        """Return scheme with host and port, and path, for comparisons."""
        place, path = super().reduce_uri(uri, default_port)
        return f"{uri.partition(':')[0]}://{place}".lower(), path


class Authentication(urllib.request.HTTPDigestAuthHandler):
    """Answers the challenges of a server: by the first supported Digest, otherwise by Basic.

    The handlers of the standard library consider only the first header of a response, and send a
    wrong password six times. Many cameras lock the account after five.

    Args:
        passwords: Names and passwords by address.
    """

    def __init__(self, passwords: Passwords) -> None:
        super().__init__(passwords)
        self._passwords = passwords
        self._refused = 0

    def http_error_401(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        """Repeat a request with credentials. Return None if there are none, or if they were refused.

        Raises:
            UnsupportedAuthenticationError: The server offers no supported kind.
        """
        name, password = self._passwords.find_user_password(None, req.full_url)
        offers = _challenges("\n".join(headers.get_all("WWW-Authenticate", [])))
        if name is None or not offers:
            return None
        digests = [fields for scheme, offer in offers if scheme == "digest" and (fields := _supported(offer))]
        if req.has_header("Authorization"):
            self._refused += 1
            if self._refused > _MAX_STALE or not any(fields.get("stale", "").lower() == "true" for fields in digests):
                return None
        if digests:
            # `retry_http_digest_auth` is not used, because it would parse the challenge again, and
            # fail at what cameras send.
            answer = f"Digest {self.get_authorization(req, digests[0])}"
        elif "basic" in dict(offers):
            answer = f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"
        else:
            raise UnsupportedAuthenticationError
        req.add_unredirected_header("Authorization", answer)
        assert self.parent is not None  # noqa: S101  (it is set by `add_handler`)
        response: HTTPResponse = self.parent.open(req, timeout=req.timeout)
        return response

    def get_authorization(self, req: urllib.request.Request, chal: Any) -> Any:
        """Return the answer to a Digest challenge, with the name in UTF-8."""
        answer = super().get_authorization(req, chal)
        # The header is sent as Latin-1, which lacks most letters.
        return answer and answer.encode().decode("latin-1")

    def get_algorithm_impls(self, algorithm: str) -> tuple[Callable[[str], str], Callable[[str, str], str]]:
        """Return the hash of a text, and the hash of a secret with data."""

        def digest(text: str) -> str:
            return hashlib.new(_DIGESTS[algorithm.upper()], text.encode(), usedforsecurity=False).hexdigest()

        return digest, lambda secret, data: digest(f"{secret}:{data}")


def _challenges(headers: str) -> list[tuple[str, dict[str, str]]]:
    """Return scheme and fields of each challenge, with scheme and names in lower case."""
    # Headers are read as Latin-1, but a realm beyond ASCII is usually UTF-8.
    with contextlib.suppress(UnicodeError):
        headers = headers.encode("latin-1").decode()
    # A realm is free text and may look like another challenge. So schemes are searched in a copy
    # of equal length whose quoted texts are masked.
    found = list(_SCHEME.finditer(_QUOTED.sub(lambda quoted: '"' * len(quoted[0]), headers)))
    ends = [scheme.start() for scheme in found[1:]] + [len(headers)]
    return [(scheme[1].lower(), _fields(headers[scheme.end() : end])) for scheme, end in zip(found, ends, strict=False)]


def _fields(challenge: str) -> dict[str, str]:
    return {
        name.lower(): re.sub(r"\\(.)", r"\1", value[1:].removesuffix('"')) if value.startswith('"') else value.strip()
        for name, value in _FIELD.findall(challenge)
    }


def _supported(fields: dict[str, str]) -> dict[str, str] | None:
    """Return the fields of a Digest challenge for the standard library, or None if it cannot be answered."""
    if (
        not {"realm", "nonce"} <= fields.keys()
        or not fields["nonce"].isascii()
        or fields.get("algorithm", "MD5").upper() not in _DIGESTS
    ):
        return None
    kinds = re.findall(r"[^\s,]+", fields.get("qop", "").lower())
    if kinds and "auth" not in kinds:
        return None
    others = {name: value for name, value in fields.items() if name != "qop"}
    return others | {"qop": "auth"} if kinds else others
