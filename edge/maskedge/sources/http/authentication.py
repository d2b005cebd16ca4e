"""Basic and Digest authentication of HTTP cameras."""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage, HTTPResponse
from typing import Any

_CHALLENGE = re.compile(r"(?:^|,)[ \t]*([A-Za-z][\w-]*)(?=[ \t]+[^\s=]|[ \t]*$)", re.MULTILINE)
"""Name of a scheme in `WWW-Authenticate`. One header may contain several challenges."""
_DIGESTS = {"MD5": "md5", "SHA": "sha1", "SHA-256": "sha256"}
_MAX_STALE = 3
"""Maximum number of further attempts when the server says that its nonce has expired."""


class UnsupportedAuthenticationError(Exception):
    """The server offers neither Basic nor a supported kind of Digest."""


class Authentication(urllib.request.HTTPDigestAuthHandler):
    """Answers the challenges of a server: by the first supported Digest, otherwise by Basic.

    The handlers of the standard library consider only the first header of a response, and send a
    wrong password six times. Many cameras lock the account after five.

    Args:
        passwords: Names and passwords by address.
    """

    def __init__(self, passwords: urllib.request.HTTPPasswordMgr) -> None:
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
        name, password = self._passwords.find_user_password("", req.full_url)
        pieces = _CHALLENGE.split("\n".join(headers.get_all("WWW-Authenticate", [])))
        offers = [(scheme.lower(), fields) for scheme, fields in zip(pieces[1::2], pieces[2::2], strict=True)]
        if name is None or not offers:
            return None
        digests = [fields for scheme, fields in offers if scheme == "digest" and _is_supported(fields)]
        if req.has_header("Authorization"):
            self._refused += 1
            if self._refused > _MAX_STALE or not any(re.search(r"stale=\"?true", fields, re.IGNORECASE) for fields in digests):
                return None
        if digests:
            return self.retry_http_digest_auth(req, f"Digest {digests[0].strip(', ')}")
        if "basic" not in dict(offers):
            raise UnsupportedAuthenticationError
        req.add_unredirected_header("Authorization", f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}")
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


def _is_supported(fields: str) -> bool:
    """Return True for a Digest challenge that can be answered."""
    found = dict(re.findall(r"([\w-]+)[ \t]*=[ \t]*\"?([^\",]*)", fields.lower()))
    return {"realm", "nonce"} <= found.keys() and found.get("algorithm", "md5").strip().upper() in _DIGESTS
