"""The connection that publishes commands to the broker."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from maskedge.errors import UsageError
from maskedge.sinks.mqtt.connection import open_tls, split_url
from maskedge_fleet.settings import BrokerConfig

if TYPE_CHECKING:
    from paho.mqtt.client import ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_log = logging.getLogger("maskedge.fleet")
CONFIRMATION_S = 5.0
"""Seconds to wait for the broker's confirmations."""


class CommandPublisher:
    """Publishes with QoS 1 and waits for the broker's confirmation. It reconnects by itself.

    Nothing is lost while there is no connection: the messages are rows of the database.

    Args:
        config: The broker.

    Raises:
        UsageError: The broker's address or a certificate file is not valid.
    """

    def __init__(self, config: BrokerConfig) -> None:
        if not config.url:
            raise UsageError("commands need the broker of the devices: give --broker mqtt://HOST:PORT, or set [broker] url.")
        host, port, encrypted = split_url(config.url)
        self._where = f"{host}:{port}"
        self._problem: str | None = None
        self._connected = threading.Event()
        self._refused: dict[int, str] = {}
        self._client = Client(CallbackAPIVersion.VERSION2, f"maskedge-commands-{secrets.token_hex(6)}", protocol=MQTTv5)
        self._client.username_pw_set(config.username, config.read_password())
        if encrypted:
            self._client.tls_set_context(open_tls(config.ca_file, config.cert_file, config.key_file, insecure=config.insecure))
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._handle_connect
        self._client.on_connect_fail = self._handle_failure
        self._client.on_disconnect = self._handle_disconnect
        self._client.on_publish = self._handle_publish
        self._client.connect_async(host, port, keepalive=30)
        self._client.loop_start()

    @property
    def is_connected(self) -> bool:
        """True while the broker is connected."""
        return self._connected.is_set()

    def publish(self, messages: Sequence[tuple[str, str]]) -> list[bool]:
        """Publish topics and payloads. Return for each True if the broker has confirmed it."""
        if not self.is_connected:
            return [False] * len(messages)
        sent = [self._client.publish(topic, payload, qos=1) for topic, payload in messages]
        end = time.monotonic() + CONFIRMATION_S
        confirmed = []
        for message in sent:
            try:
                message.wait_for_publish(max(0.0, end - time.monotonic()))
                confirmed.append(message.is_published() and self._refused.pop(message.mid, None) is None)
            except (RuntimeError, ValueError):
                # It was not sent, since the connection broke in this moment.
                confirmed.append(False)
        return confirmed

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _handle_connect(
        self, client: Client, data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._report(f"the broker {self._where} refuses the connection for commands ({reason}): check [broker].")
            return
        if self._problem is not None:
            _log.info("the broker %s is connected again; waiting commands are sent.", self._where)
        self._problem = None
        self._connected.set()

    def _handle_failure(self, client: Client, data: Any) -> None:
        self._report(f"the broker {self._where} cannot be reached: commands wait in the database.")

    def _handle_disconnect(
        self, client: Client, data: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._connected.clear()
        if reason.is_failure:
            self._report(f"the connection to the broker {self._where} is lost ({reason}): commands wait in the database.")

    def _handle_publish(self, client: Client, data: Any, number: int, reason: ReasonCode, properties: Properties | None) -> None:
        if reason.is_failure:
            self._refused[number] = str(reason)
            self._report(
                f"the broker {self._where} refuses commands ({reason}): let the user of the server write to ROOT/+/command."
            )

    def _report(self, problem: str) -> None:
        """Log a problem, once until there is a connection again or the problem is another one."""
        if problem != self._problem:
            self._problem = problem
            _log.warning("%s", problem)
