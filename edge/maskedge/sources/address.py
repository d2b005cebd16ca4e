"""Parsing and quoting of source addresses, and masking of their secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from maskedge.errors import UsageError

PERCENT_HINT = "write @ : / ? # and % in a name or password percent-encoded (%40 %3A %2F %3F %23 %25)"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = r"(?:\[[^\]\s]+\]|[^\s/?#@:\[\]]+)?(?::\d*)?"
_AFTER_HOST = r"(?=[/?]|\Z|#(?!.*@))"

# Names of credentials in the addresses of cameras and in pipelines: ?user=..&pwd=.., rtspsrc
# user-pw=..
_NAMES = r"user(?:[-_]?(?:id|name))?|usr|login(?:use|id)?|account"
_KEYS = (
    r"user[-_]?(?:pw|pwd|password)|loginpas|auth|authorization|credentials?|pass(?:word|wd|phrase|code)?|pwd|psw|pw|tkn|sig(?:nature)?|jwt|"
    r"ticket|sid|session(?:[-_]?id)?|streamid|(?:(?:auth|access|api|stream|secret|private)[-_]?)?(?:token|key|secret)|[a-z]+token"
)
# Recorders have credentials in the path: user=admin_password=secret_channel=1_stream=0.sdp
_PATH_END = r"_(?:password|channel|stream)="
_SECRET = re.compile(rf"(?i)(?<![a-z0-9])(?:({_NAMES})|({_KEYS}))=(\"[^\"]*\"|(?:(?!{_PATH_END})[^&\s#])+)")
_USER = re.compile(r"(?<=://)([^/?#\s]*)@(?=[^/?#@\s]*)")
# A password with a slash. It is recognised by a port that is not a number.
_ODD = re.compile(r"(?<=://)([^/?#\s@:\[\]]*:(?!\d+(?:[/?#\s]|$))[^\s]*)@")


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a stream's address.

    Attributes:
        scheme: The scheme, in lower case.
        user: Name and password as written, `name:password`; None if there are none.
        rest: Host, port, path and query.
    """

    scheme: str
    user: str | None
    rest: str

    @property
    def bare(self) -> str:
        """The address without name and password."""
        return f"{self.scheme}://{self.rest}"

    @property
    def full(self) -> str:
        """The address with name and password, percent-encoded where necessary."""
        return self.bare if self.user is None else f"{self.scheme}://{_quote(self.user)}@{self.rest}"

    @property
    def credentials(self) -> tuple[str, str] | None:
        """Name and password, decoded; None if there are none."""
        if not self.user:
            return None
        name, _, password = self.user.partition(":")
        return unquote(name), unquote(password)

    @property
    def doubtful(self) -> bool:
        """True if the path contains an `@` that may belong to the password."""
        return "@" in self.rest


def has_scheme(text: str, *schemes: str) -> bool:
    """Return True for an address with one of these schemes, given in lower case."""
    scheme = _SCHEME.match(text)
    return scheme is not None and scheme[1].lower() in schemes


def split_address(text: str) -> Address | None:
    """Split an address with a scheme.

    Reserved characters in a password are accepted if only one way to split the address has a host.

    Args:
        text: The address as the user wrote it.

    Returns:
        The parts, or None if the text has no scheme.

    Raises:
        UsageError: The address is ambiguous.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    rest = text[scheme.end() :]
    end = _end_of_user(rest)
    if end is None:
        raise UsageError(f"the address {without_password(text)} is ambiguous: {PERCENT_HINT}.")
    return Address(scheme[1].lower(), rest[:end] if end >= 0 else None, rest[end + 1 :])


def _end_of_user(rest: str) -> int | None:
    """Return the position of the `@` before the host, -1 if there is none, None if ambiguous."""
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    # A fragment is never sent, so a '#' before an '@' belongs to the password.
    mark = authority.find("#")
    if mark >= 0 and "@" not in rest[mark:]:
        authority = authority[:mark]
    before, at, host = authority.rpartition("@")
    if re.fullmatch(_HOST, host):
        return len(before) if at else -1
    places = [place.start() for place in re.finditer("@", rest) if re.match(_HOST + _AFTER_HOST, rest[place.end() :])]
    if len(places) > 1:
        return None
    return places[0] if places else -1


def _quote(user: str) -> str:
    """Percent-encode reserved characters of a name or password. Encoded characters are kept."""

    def encode(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))

    return re.sub(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:%-]", encode, user)


def tidy(text: str) -> str:
    """Strip blanks and convert the scheme to lower case.

    The name of an existing file is not changed.
    """
    if _exists(text):
        return text
    text = text.strip()
    return re.sub(r"\A(?:[A-Za-z][A-Za-z0-9+.-]*://|(?:gst|file):)", lambda found: found[0].lower(), text, flags=re.IGNORECASE)


def file_path(text: str) -> str:
    """Return the percent-decoded path of a `file:` address. Return any other text unchanged.

    Raises:
        UsageError: The address names another host.
    """
    if not text.startswith("file:"):
        return text
    path = text.removeprefix("file:")
    if path.startswith("//"):
        host, slash, absolute = path[2:].partition("/")
        path = f"/{absolute}" if slash and host.lower() in ("", "localhost") else path[2:]
        if not path.startswith(("/", "~")) and slash and not _exists(path) and not _exists(_decode(path)):
            raise UsageError(f"{text} names the host {host}: only local files can be opened, as in file:///home/me/clip.mp4.")
    decoded = _decode(path)
    # The user may have put file:// before a path without encoding the path.
    return path if _exists(path) and not _exists(decoded) else decoded


def _decode(path: str) -> str:
    return os.fsdecode(unquote_to_bytes(os.fsencode(path)))


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # the path is too long or contains a null byte
        return False


def without_password(text: str, mask: str = "***") -> str:
    """Mask the credentials of an address or a GStreamer pipeline, for logs and events.

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


def _replace(text: str, by: Callable[[str], str], *, names: bool = True) -> str:
    """Replace every secret in a text. If `names` is True, replace user names too."""

    def user(found: re.Match[str]) -> str:
        return f"{by(found[1])}@" if found[1] else "@"

    def value(found: re.Match[str]) -> str:
        key, hidden = found[1] or found[2], found[3].strip('"')
        return f"{key}={by(hidden)}" if names or found[2] else found[0]

    scheme = _SCHEME.match(text)
    if scheme is not None and not re.search(r"\s", text):
        end = _end_of_user(text[scheme.end() :])
        if end is not None and end > 0:
            start = scheme.end()
            text = f"{text[:start]}{by(text[start : start + end])}@{text[start + end + 1 :]}"
            head, at, rest = text.partition("@")
            return head + at + _SECRET.sub(value, rest)
    text = _ODD.sub(user, text)
    text = _USER.sub(lambda found: found[0] if set(found[1]) == {"*"} else user(found), text)
    return _SECRET.sub(value, text)
