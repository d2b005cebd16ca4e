"""The request of a webhook."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import IO, Any
from urllib.parse import urlsplit

from maskedge.errors import OutputError, UsageError
from maskedge.events import Event
from maskedge.support.files import MAX_SECRET_BYTES, read_text
from maskedge.support.network.deadline import HTTPHandler, HTTPSHandler
from maskedge.support.text import to_json
from maskedge.support.workers import PermanentError
from maskedge.version import VERSION

from .webhook import WebhookRule

_RETRIED = (408, 425, 429)


class Webhook:
    """Posts the JSON of an event.

    Args:
        rule: The rule, with a `webhook`.

    Attributes:
        target: The URL and the headers, with their secrets.

    Raises:
        UsageError: The URL is not http(s) or is malformed, or the header is malformed or cannot be
            read.
    """

    def __init__(self, rule: WebhookRule) -> None:
        self._rule = rule.name
        self._url = rule.webhook or ""
        self._timeout = rule.webhook_timeout
        try:
            parts = urlsplit(self._url)
            host = parts.hostname
            # Both raise a ValueError for what no request can reach: a port above 65535, a host 'a..b'.
            _ = parts.port, (host or "").encode("idna")
        except ValueError:
            parts, host = urlsplit(""), None
        # Messages name only the host, because many services put a secret into the path.
        if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or re.search(r"[\s\x00-\x1f\x7f]", self._url):
            raise UsageError(
                f"alert rule {rule.name!r}: webhook is an http:// or https:// URL of a valid host, without user and password."
            )
        if not f"{parts.path}{parts.query}".isascii():
            raise UsageError(f"alert rule {rule.name!r}: write the letters of webhook that are not ASCII as %XX.")
        self._host = host
        self._headers = {"Content-Type": "application/json", "User-Agent": f"maskedge/{VERSION}"} | _header(rule)
        self.target = self._url, *self._headers.items()
        self._opener = urllib.request.build_opener(_NoRedirect, HTTPHandler, HTTPSHandler)

    def post(self, event: Event) -> None:
        """Send the event once.

        Raises:
            OutputError: The server did not accept the event.
        """
        body = to_json(event.to_json(), ensure_ascii=True).encode()
        request = urllib.request.Request(self._url, body, self._headers, method="POST")  # noqa: S310  (http or https: checked above)
        where = f"the webhook of alert rule {self._rule!r} at {self._host}"
        try:
            with self._opener.open(request, timeout=self._timeout):
                pass
        except urllib.error.HTTPError as error:
            with error:
                message = f"{where} answered {error.code}: check its URL and header."
            if error.code < 500 and error.code not in _RETRIED:
                raise PermanentError(message) from None
            raise OutputError(message) from None
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            words = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason) or type(reason).__name__
            # The error is not the cause of this exception, because its text may contain the URL.
            raise OutputError(f"{where} cannot be reached ({words}): check the network and the URL.") from None
        except ValueError:
            # For example because of a proxy in the environment. The text may contain the URL.
            problem = "its URL, http_proxy or https_proxy is not valid; correct it"
            raise PermanentError(f"{where} cannot be called: {problem}.") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, so that the secret header reaches only the configured host."""

    def redirect_request(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> None:
        """Follow no redirect. The response counts as a failure."""


def _header(rule: WebhookRule) -> dict[str, str]:
    """Return the header that a rule sends."""
    given = [value for value in (rule.webhook_header, rule.webhook_header_env, rule.webhook_header_file) if value is not None]
    if not given:
        return {}
    where = f"alert rule {rule.name!r}"
    if len(given) > 1:
        raise UsageError(f"{where}: give one of webhook_header, webhook_header_env and webhook_header_file.")
    text = rule.webhook_header
    if rule.webhook_header_env is not None:
        text = os.environ.get(rule.webhook_header_env)
        if text is None:
            raise UsageError(f"{where}: the environment variable {rule.webhook_header_env} (webhook_header_env) is not set.")
    if rule.webhook_header_file is not None:
        try:
            text = read_text(rule.webhook_header_file.expanduser(), MAX_SECRET_BYTES)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"{where}: {rule.webhook_header_file} (webhook_header_file) cannot be read ({reason}).") from error
    found = re.fullmatch(r"([\w-]+):[ \t]*([\x20-\x7e]+)", (text or "").strip())
    if not found:
        raise UsageError(f"{where}: the header of the webhook is one line 'NAME: VALUE' of plain letters.")
    return {found[1]: found[2]}
