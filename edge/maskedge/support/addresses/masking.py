"""Masking of the credentials in addresses, in whatever form they are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, unquote

from .parts import SCHEME, end_of_user

# Names of credentials in the addresses of cameras and in pipelines: ?user=..&pwd=.., rtspsrc
# user-pw=..
_NAMES = r"user(?:[-_]?(?:id|name))?|usr|login(?:use|id)?|account"
_KEYS = (
    r"user[-_]?(?:pw|pwd|password)|loginpas|auth|authorization|credentials?|pass(?:word|wd|phrase|code)?|pwd|psw|pw|tkn|sig(?:nature)?|jwt|"
    r"ticket|sid|sess(?:ion)?(?:[-_]?(?:id|key))?|cookie|streamid|(?:(?:auth|access|api|stream|secret|private)[-_]?)?(?:token|key|secret)|"
    r"[a-z]+(?:token|passw(?:or)?d|pwd)"
)
# Recorders have credentials in the path: user=admin_password=secret_channel=1_stream=0.sdp
_PATH_END = r"_(?:password|channel|stream)="
_SECRET = re.compile(rf"(?i)(?<![a-z0-9])(?:({_NAMES})|({_KEYS}))=(\"[^\"]*\"|(?:(?!{_PATH_END})[^&\s#])+)")
_START = r"(?:(?<![a-z0-9+.-])|(?<=%[0-9a-f]{2})|(?<=%25[0-9a-f]{2})|(?<=%2525[0-9a-f]{2}))"
"""The start of a scheme, also behind an encoded sign: `src=ffmpeg%3Artsp%3A%2F%2F..`."""
_COLON, _SLASH = r"(?::|%(?:25){0,3}3A)", r"(?:/|%(?:25){0,3}2F)"
_ENCODED = re.compile(rf"(?i){_START}[a-z][a-z0-9+.-]*(?!://){_COLON}{_SLASH}{_SLASH}[^\s&#]*")
"""A percent-encoded address within another one, as a whole or in part: `http://relay/?url=rtsp%3A%2F%2F..`."""

# Each of these has the groups `user` (name and password) and `at` (the sign that ends them).
_USER = re.compile(r"(?<=://)(?P<user>[^/?#\s]*)(?P<at>@)(?=[^/?#@\s]*)")
# A password with a slash. It is recognised by a port that is not a number.
_ODD_START = r"(?<=://)(?P<user>[^/?#\s@:\[\]]*:(?!\d+(?:[/?#\s]|$))"
_ODD = re.compile(_ODD_START + r"\S*)(?P<at>@)")
_ODD_ENCODED = re.compile(_ODD_START + r"[^\s@]*)(?P<at>%40)")
# A password with a blank: in a longer text up to the next '@', in an address of its own up to the last.
_BLANK = re.compile(_ODD_START + r"(?:(?!://)[^@\r\n])*)(?P<at>@)(?=[\w\[:*])")
_BLANK_ALONE = re.compile(
    r"(?<=://)(?P<user>[^/?#\s@:\[\]]*:(?!\d+(?:[/?#]|$))(?:(?!://)[^\r\n])*)(?P<at>@|%40)(?=[\w\[:*])",
)
# A known scheme without its two slashes.
_SCHEMES = r"rtsps?|rtmps?|rtp|tcp|udp|srt|https?|wss?|mqtts?|ftps?|postgres(?:ql)?"
_SLIP = re.compile(rf"(?i)(?<!\w)(?:{_SCHEMES}):/?(?!/)(?P<user>\S+)(?P<at>@|%40)")
_SLIP_ALONE = re.compile(rf"(?i)\A\s*(?:{_SCHEMES}):/?(?!/)(?P<user>.+)(?P<at>@|%40)")
# NAME:PASSWORD@ without a scheme. The colon after the letter of a drive (C:\me@home) is none of these.
_DELIMITERS = r"\s/\\=\"'(\[{,;<>|&?"
_BARE = re.compile(
    rf"(?<![^{_DELIMITERS}@])(?![A-Za-z]:[\\/])(?P<user>[^{_DELIMITERS}@:]+:(?!//)\S*)(?P<at>@|%40)(?=[\w\[:*]|$)",
)


def without_password(text: str, mask: str = "***") -> str:
    """Mask the credentials of an address or a GStreamer pipeline, for logs and events.

    Addresses with a slip are masked too: slashes that are missing, `%40` in place of `@`, a blank in
    the password.

    Args:
        text: An address, or a text that contains addresses.
        mask: Replacement for each credential.

    >>> without_password("rtsp://me:secret@camera/1?channel=2&pwd=secret")
    """
    return _replace(text, lambda secret: mask)


def secrets_in(text: str) -> set[str]:
    """Return the passwords, keys and tokens in an address or a pipeline, as written and decoded."""
    found: set[str] = set()

    def note(secret: str) -> str:
        parts = {secret, secret.partition(":")[2]} if ":" in secret else {secret}
        found.update(part for part in (*parts, *map(unquote, parts)) if part)
        return "***"

    _replace(text, note, names=False)
    return found


def names_a_secret(key: str) -> bool:
    """Return True for the name of a credential, such as `password` or `api_key`."""
    return re.fullmatch(rf"(?i){_KEYS}", key) is not None


def _replace(text: str, by: Callable[[str], str], *, names: bool = True) -> str:
    """Replace every secret in a text. If `names` is True, replace user names too."""

    def user(found: re.Match[str]) -> str:
        hidden = found["user"]
        if set(hidden) <= {"*"}:  # there is none, or it is masked already
            return found[0]
        return f"{found[0][: found.start('user') - found.start()]}{by(hidden)}{found['at']}"

    def value(found: re.Match[str]) -> str:
        key, hidden = found[1] or found[2], found[3].strip('"')
        if set(hidden) == {"*"}:  # it is masked already
            return found[0]
        return f"{key}={by(hidden)}" if names or found[2] else found[0]

    def word(found: re.Match[str]) -> str:
        before, slashes, rest = found[0].partition("://")
        return (_SLIP if _SLIP.search(before) else _BARE).sub(user, before) + slashes + rest

    def encoded(found: re.Match[str]) -> str:
        address = unquote(found[0])
        masked = _replace(address, by, names=names)
        return found[0] if masked == address else quote(masked, safe="*")

    head, scheme = "", SCHEME.match(text)
    if scheme is not None and not re.search(r"\s", text):
        end = end_of_user(text[scheme.end() :])
        if end is not None and end > 0:
            user_at, host_at = scheme.end(), scheme.end() + end + 1
            rest = _SECRET.sub(value, text[host_at:])
            inner = SCHEME.search(rest)  # an address in the query, as of a relay
            rest_at = inner.start() if inner is not None else len(rest)
            head = f"{text[:user_at]}{by(text[user_at : host_at - 1])}@{rest[:rest_at]}"
            text = rest[rest_at:]
    if "@" in text or "%40" in text:
        alone = (_BLANK_ALONE,) if scheme is not None and re.search(r"\s", text) else ()
        for pattern in (*alone, _BLANK, _ODD, _ODD_ENCODED, _USER, _SLIP_ALONE):
            text = pattern.sub(user, text)
        text = re.sub(r"\S+", word, text)
    return _ENCODED.sub(encoded, head + _SECRET.sub(value, text))
