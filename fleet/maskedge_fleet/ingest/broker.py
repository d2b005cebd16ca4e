"""Connections to the broker. The ingest and the sender of commands share them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge.errors import UsageError
from maskedge.sinks.mqtt.connection import open_tls, split_url

if TYPE_CHECKING:
    from paho.mqtt.client import Client

KEEP_ALIVE_S = 30
LARGEST_PACKET = 16 * 1024 * 1024
"""Maximum size of a message in bytes. The broker drops larger ones, which would need several times their size in memory."""
_CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class BrokerSettings:
    """Address and login of the broker.

    Attributes:
        url: `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.
        username: User name; None to connect anonymously.
        password: Password.
        ca_file: Certificates (PEM) that sign the broker's; None for the system's.
        cert_file: Client certificate (PEM), for brokers that require one.
        key_file: Key of `cert_file`, if it is in another file.
        insecure: Accept any certificate; for tests only.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False

    @property
    def address(self) -> str:
        """Host and port.

        Raises:
            UsageError: The URL has another form.
        """
        host, port, _ = split_url(self.url)
        return f"{host}:{port}"

    @property
    def tls(self) -> ssl.SSLContext | None:
        """Context for TLS; None for a URL without it.

        Raises:
            UsageError: The URL or the file of certificates is not valid.
        """
        if split_url(self.url)[2]:
            return open_tls(self.ca_file, self.cert_file, self.key_file, insecure=self.insecure)
        if self.ca_file or self.cert_file or self.insecure:
            raise UsageError("certificates are given, but the broker's URL begins with mqtt://: use mqtts:// for TLS.")
        return None


def make_client(
    settings: BrokerSettings,
    client_id: str,
    *,
    session_s: int = 0,
    receive_maximum: int = 100,
    manual_acknowledgement: bool = False,
) -> Client:
    """Return a client of MQTT 5 that is ready for `reconnect()`. It does not reconnect by itself.

    Args:
        settings: The broker.
        client_id: Name of the session.
        session_s: Seconds that the broker keeps the session after a disconnection; 0 for no session.
        receive_maximum: Unacknowledged messages that the broker may send.
        manual_acknowledgement: Messages are acknowledged by `ack`.

    Raises:
        UsageError: The URL or the file of certificates is not valid.
    """
    from paho.mqtt.client import Client, MQTTv5
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        protocol=MQTTv5,
        reconnect_on_failure=False,
        manual_ack=manual_acknowledgement,
    )
    client.connect_timeout = _CONNECT_TIMEOUT_S
    if settings.password is not None and settings.username is None:
        raise UsageError("a password of the broker is given and no user name: give both or none (--username).")
    client.username_pw_set(settings.username, settings.password)
    context = settings.tls
    if context is not None:
        client.tls_set_context(context)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = session_s
    properties.ReceiveMaximum = receive_maximum
    properties.MaximumPacketSize = LARGEST_PACKET
    host, port, _ = split_url(settings.url)
    # Mosquitto loses a clean-start session when it restarts.
    client.connect_async(host, port, KEEP_ALIVE_S, clean_start=session_s == 0, properties=properties)
    return client
