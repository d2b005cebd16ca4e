"""The connection that publishes commands to the broker."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maskedge.errors import UsageError
from maskedge_fleet.ingest.broker import BrokerSettings, make_client

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_log = logging.getLogger("maskedge.fleet")
CONFIRMATION_S = 5.0
"""Seconds to wait for the broker's confirmations."""
_LONGEST_WAIT_S = 30.0


class CommandPublisher:
    """Publishes with QoS 1 and waits for the broker's confirmation. It reconnects by itself.

    Nothing is lost while there is no connection: the messages are rows of the database.

    Args:
        settings: The broker.

    Raises:
        UsageError: The broker's address or a certificate file is not valid.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        if not settings.url:
            raise UsageError("commands need the broker of the devices: give --broker mqtt://HOST:PORT, or set [broker] url.")
        self._where = settings.address
        self._problem: str | None = None
        self._connected = threading.Event()
        self._stop = threading.Event()
        self._refused: dict[int, str] = {}
        self._client = make_client(settings, f"maskedge-commands-{secrets.token_hex(6)}")
        self._client.on_connect = self._handle_connect
        self._client.on_disconnect = self._handle_disconnect
        self._client.on_publish = self._handle_publish
        self._thread = threading.Thread(target=self._run, name="commands-mqtt", daemon=True)
        self._thread.start()

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
        self._stop.set()
        self._client.disconnect()
        self._thread.join(CONFIRMATION_S)

    def _run(self) -> None:
        wait = 1.0
        while not self._stop.is_set():
            try:
                self._client.reconnect()
                self._client.loop_forever()
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or error
                self._report(f"the broker {self._where} cannot be reached ({reason}): commands wait in the database.")
            wait = 1.0 if self._problem is None else min(2 * wait, _LONGEST_WAIT_S)
            self._stop.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311  (no secret: spreads reconnections)

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
