"""Certificate authorities that a user names, and those of the system, as with Python 3.13."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from helpers.brokers import make_certificates
from maskedge.remote import model_download
from maskedge.sinks.mqtt import connection
from maskedge.support.network import tls


def connect(context: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Make a connection in memory."""
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        context.wrap_bio(pipes[0], pipes[1], server_hostname="localhost"),
        server.wrap_bio(pipes[1], pipes[0], server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[0].version()


def test_an_authority_that_the_user_names_needs_no_key_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make_certificates(tmp_path / "own")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(own["cert"], own["key"])
    plain = ssl.create_default_context

    def strict(**options: object) -> ssl.SSLContext:
        context = plain(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13 does so itself
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(strict(cafile=own["ca"]), server)
    connect(tls.client_tls(own["ca"]), server)
    connect(connection.open_tls(own["ca"], None, None, insecure=False), server)
    connect(model_download._tls(own["ca"]), server)
    assert tls.client_tls(None).verify_flags & ssl.VERIFY_X509_STRICT
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(tls.client_tls(make_certificates(tmp_path / "other")["ca"]), server)
