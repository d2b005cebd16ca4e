"""TLS of clients: which certificates they accept."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_tls(ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS context of a client, which checks the server's certificate and its name.

    Args:
        ca_file: Trusted certificate authorities, PEM; None for those of the system.

    Raises:
        OSError: The file cannot be read, or is not PEM.
    """
    context = ssl.create_default_context(cafile=ca_file)
    if ca_file is not None:
        # From 3.13 on, Python refuses an authority without the extension "key usage". Those that `openssl req -x509`
        # makes have none. Whoever names an authority trusts it.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
