"""The section `[web]`: the served content, the address and the admitted clients."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from maskedge.errors import UsageError
from maskedge.settings import Range, check_settings, shown
from maskedge.support.files import MAX_SECRET_BYTES, read_regular

DEFAULT_PORT = 8080
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class WebConfig:
    """The section `[web]`.

    Raises:
        UsageError: A value is out of range, `proxy` is not the address of another machine, or
            pictures would be served to a network without a token.
    """

    serve: str = field(default="", metadata={"help": "address and port of the status page, as in 127.0.0.1:8080; empty: no page"})
    picture: bool = field(default=False, metadata={"help": "serve the live picture; otherwise no pixels are served"})
    stream_fps: float = field(
        default=10.0, metadata={"help": "maximum number of pictures per second for a client", "range": Range(0.1, 120)}
    )
    stream_width: int = field(
        default=640,
        metadata={
            "help": "maximum width of served pictures in pixels; 0: the width of the camera",
            "range": Range(16, 8192, zero=True),
        },
    )
    jpeg_quality: int = field(default=75, metadata={"help": "JPEG quality of served pictures", "range": Range(1, 100)})
    events_per_second: float = field(
        default=5.0, metadata={"help": "maximum number of detection events per second at /api/events", "range": Range(0.1, 120)}
    )
    max_clients: int = field(
        default=16, metadata={"help": "maximum number of clients of live pictures and events at a time", "range": Range(1, 1000)}
    )
    stale_after: float = field(
        default=10.0, metadata={"help": "seconds without a frame after which /healthz returns 503", "range": Range(0.001, 86400)}
    )
    token: str | None = field(
        default=None, metadata={"secret": True, "help": "password of the page and bearer token of the API; token_file is safer"}
    )
    token_file: Path | None = field(default=None, metadata={"help": "file whose first line is the token"})
    allow_remote: bool = field(default=False, metadata={"help": "serve pictures to a network without a token"})
    hosts: tuple[str, ...] = field(
        default=(), metadata={"help": "further host names under which browsers may open a page without a token"}
    )
    proxy: str = field(
        default="",
        metadata={
            "help": "IP address of a reverse proxy that signs users in and shows the page in a frame, as in 172.30.32.2; "
            "only it and this machine may connect"
        },
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_settings(self, "web")
        if self.proxy:
            _check_proxy(self.proxy)
        if self.serve:
            host, _ = parse_address(self.serve)
            guarded = self.token or self.token_file or self.proxy or self.allow_remote
            if self.picture and not is_loopback(host) and not guarded:
                raise UsageError(
                    f"pictures would be served on {self.serve} to every client that can reach it: set web.token_file, or "
                    "web.allow_remote."
                )


def parse_address(text: str) -> tuple[str, int]:
    """Split `127.0.0.1:8080`, `[::1]:8080`, `localhost`, `:8080` or `8080` into host and port.

    The default host is the loopback address.

    Raises:
        UsageError: The text is not an address, or the port is not 0 to 65535 (0: any free port).
    """
    host, port = text.strip(), ""
    if host.isdigit():
        host, port = "", host
    elif host.startswith("["):
        host, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        host, port = host.split(":")
    elif _is_ipv6(host.rpartition(":")[0]):
        # The end may be a port, or the last part of the address.
        raise UsageError(f"{shown(text)} is not an address to serve on: write an IPv6 address in brackets, as in [::1]:8080.")
    elif ":" in host and not _is_ipv6(host):
        port = "-"  # refused below
    number = int(port) if port.isdecimal() and port.isascii() else DEFAULT_PORT if not port else -1
    if not 0 <= number <= 65535 or any(letter in host for letter in " /@"):
        raise UsageError(f"{shown(text)} is not an address to serve on: give HOST:PORT, as in 127.0.0.1:8080.")
    return host or "127.0.0.1", number


def _check_proxy(proxy: str) -> None:
    try:
        address = ipaddress.ip_address(proxy)
    except ValueError as error:
        raise UsageError(f"web.proxy is the IP address of a reverse proxy, as in 172.30.32.2; got {shown(proxy)}.") from error
    if address.is_loopback or address.is_unspecified:
        # A browser on this machine has the same address, and its host names must be checked.
        raise UsageError(
            f"web.proxy is a proxy with an address of its own, got {proxy}: for one on this machine leave it empty, and add "
            "the host name that browsers use to web.hosts."
        )


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def is_own_host(host: str, names: Collection[str]) -> bool:
    """Return True if a header `Host` names this server: an IP address, or one of its names.

    The page of another site may let its own name lead to this machine (DNS rebinding). A browser then
    sends that name.

    Args:
        host: Value of the header, with or without a port.
        names: Names of the server, in lower case.
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def read_token(config: WebConfig) -> str | None:
    """Return the token that clients must send, or None if no token is set.

    Raises:
        UsageError: The token file cannot be read or is empty.
    """
    if config.token_file is None:
        return config.token or None
    path = config.token_file.expanduser()
    try:
        lines = read_regular(path, MAX_SECRET_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"the token of the status page cannot be read from {path} ({reason}): check web.token_file.") from error
    token = lines[0].strip() if lines else ""
    if not token:
        raise UsageError(f"{path} contains no token: write one line into it, for example from `openssl rand -hex 16`.")
    return token
