"""Parsing, checking and quoting of source addresses."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from maskedge.errors import UsageError
from maskedge.support.addresses.masking import secrets_in, without_password
from maskedge.support.addresses.parts import HOST, SCHEME, end_of_user

__all__ = [
    "PERCENT_HINT",
    "Address",
    "check_stream",
    "file_path",
    "has_scheme",
    "lacks_slashes",
    "secrets_in",
    "split_address",
    "tidy",
    "without_password",
]

PERCENT_HINT = "write @ : / ? # and % in a name or password percent-encoded (%40 %3A %2F %3F %23 %25)"

_WITH_PORT = ("tcp", "udp", "rtp", "srt")
"""Schemes without a default port."""
_LISTENING = (*_WITH_PORT, "rtmp")
"""Schemes that can wait for a sender. Their address may then have a port and no host."""


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
    scheme = SCHEME.match(text)
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
    scheme = SCHEME.match(text)
    if scheme is None:
        return None
    rest = text[scheme.end() :]
    end = end_of_user(rest)
    if end is None:
        raise UsageError(f"the address {without_password(text)} is ambiguous: {PERCENT_HINT}.")
    return Address(scheme[1].lower(), rest[:end] if end >= 0 else None, rest[end + 1 :])


def check_stream(text: str) -> None:
    """Check the address of a stream before it is opened.

    Args:
        text: An address with a scheme.

    Raises:
        UsageError: The address is ambiguous, its host or port is missing, or its port is out of range.
    """
    address = split_address(text)
    if address is None:
        return
    shown, scheme = without_password(text), address.scheme
    place = re.split("[/?#]", address.rest, maxsplit=1)[0]
    if not (re.fullmatch(HOST, place) and _is_ip(place)):
        # What looks like a port may be a password without the rest of the address.
        shown = re.sub(r"(://[^/?#\s@:\[]+):(?!:|\d*(?:[/?#]|\Z)).*", r"\1:***", shown, flags=re.DOTALL)
        raise UsageError(
            f"the host of the address {shown} cannot be read: write {scheme}://HOST:PORT/..., an IPv6 address in brackets ([::1]), "
            f"and an @ (not %40) before the host; {PERCENT_HINT}."
        )
    host, _, port = place.rpartition(":") if ":" in place and not place.endswith("]") else (place, "", "")
    if not host and not (port and scheme in _LISTENING):
        raise UsageError(f"the address {shown} has no host: write {scheme}://HOST{':PORT' if scheme in _WITH_PORT else ''}.")
    if not port and scheme in _WITH_PORT and "port=" not in address.rest:
        raise UsageError(f"the address {shown} has no port: write {scheme}://HOST:PORT.")
    if port and not (len(port) <= 5 and 1 <= int(port) <= 65535):
        raise UsageError(f"the port in the address {shown} is not a number from 1 to 65535: check it.")


def _is_ip(place: str) -> bool:
    """Return False if a host in brackets is not an IPv6 address. It may have a zone (`[fe80::1%eth0]`)."""
    found = re.match(r"\[([^%\]]*)", place)
    try:
        return found is None or bool(IPv6Address(found[1]))
    except ValueError:
        return False


def _quote(user: str) -> str:
    """Percent-encode reserved characters of a name or password. Encoded characters are kept."""

    def encode(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))

    return re.sub(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:%-]", encode, user)


def lacks_slashes(text: str, *schemes: str) -> str:
    """Return the scheme of an address that is written without its two slashes, as in `rtsp:/camera/1`.

    Args:
        text: The address.
        schemes: The known schemes, in lower case.

    Returns:
        The scheme; an empty text for a file that exists and for any other text.
    """
    scheme = text.partition(":")[0].lower()
    return scheme if ":" in text and scheme in schemes and SCHEME.match(text) is None and not _exists(text) else ""


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
            raise UsageError(
                f"{without_password(text)} names the host {without_password(host)}: only local files can be opened, as in "
                "file:///home/me/clip.mp4."
            )
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
