"""A socket that listens, for each server of the package."""

from __future__ import annotations

import socket

from maskedge.errors import MaskedgeError, OutputError
from maskedge.support.addresses.masking import without_password


def listen(
    host: str,
    port: int,
    what: str = "the status page",
    *,
    remedy: str = "choose another address with --serve",
    error: type[MaskedgeError] = OutputError,
    backlog: int = 64,
) -> socket.socket:
    """Listen on an address.

    Args:
        host: Name or address of this machine.
        port: The port; 0 for any free one.
        what: What is served, for the message.
        remedy: The remedy, for the message.
        error: Class of the exception.
        backlog: Maximum number of connections that wait.

    Raises:
        MaskedgeError: The address cannot be served on, for example because the port is in use. It is an `error`.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=backlog)
    except (OSError, UnicodeError) as problem:
        # The codec of host names refuses empty labels (a..b) and labels of more than 63 letters.
        reason = problem.strerror or str(problem) if isinstance(problem, OSError) else "the host name is not valid"
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise error(f"{what} cannot be served on {without_password(place)} ({reason}): {remedy}.") from problem
