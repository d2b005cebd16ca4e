"""The connection that receives the commands of a fleet and sends the answers."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from maskedge.sinks.mqtt.connection import Address
from maskedge.sinks.mqtt.topics import answer_topic, command_topic, snapshot_topic
from maskedge.support.log import NAME
from maskedge.support.text import to_json

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_KEEP_ALIVE = 30
_SESSION = 86400
"""Seconds for which the broker keeps commands for a device that is away. They expire by themselves."""
_LONGEST_WAIT = 30
_CLOSE_SECONDS = 0.5
_log = logging.getLogger(NAME)


class CommandLink:
    """Receives commands on a thread of its own. It reconnects without limit.

    The session at the broker outlives the process, so that a command that is sent during a restart
    arrives.

    Args:
        address: The broker.
        prefix: Prefix of the topics of the device.
        session: Name of the session. It is the same in each run.
        on_command: Called on the thread of the connection with each message. It returns at once.
    """

    def __init__(
        self,
        address: Address,
        prefix: str,
        session: str,
        *,
        on_command: Callable[[bytes], None],
    ) -> None:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self._address = address
        self._prefix = prefix
        self._on_command = on_command
        self._lock = threading.Lock()
        self._waiting: dict[int, str] = {}
        self._confirmed: deque[int] = deque()
        self._said = ""
        self._client = client = Client(CallbackAPIVersion.VERSION2, session, protocol=MQTTv5)
        client.connect_timeout = 5.0
        client.reconnect_delay_set(1, _LONGEST_WAIT)
        client.username_pw_set(address.username, address.password)
        if address.tls:
            client.tls_set_context(address.tls)
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_subscribe = self._handle_subscribe
        client.on_message = self._handle_message
        client.on_publish = self._handle_publish
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION
        client.connect_async(address.host, address.port, _KEEP_ALIVE, clean_start=False, properties=properties)

    def start(self) -> None:
        """Start to connect."""
        self._client.loop_start()

    def send_answer(self, answer: Mapping[str, Any], *, final: bool) -> None:
        """Send an answer. While there is no connection, it waits in memory.

        Args:
            answer: The answer, with the identity of the command in `id`.
            final: Report with `take_sent` when the broker has it.
        """
        with self._lock:
            # The broker may confirm the message before its number is known here. `take_sent` waits.
            number = self._client.publish(answer_topic(self._prefix), to_json(answer), qos=1).mid
            if final:
                self._waiting[number] = answer["id"]

    def take_sent(self) -> list[str]:
        """Return the identities of the answers that the broker has confirmed since the last call."""
        with self._lock:
            numbers = [self._confirmed.popleft() for _ in range(len(self._confirmed))]
            return [self._waiting.pop(number) for number in numbers if number in self._waiting]

    def send_picture(self, camera: str, jpeg: bytes) -> None:
        """Send a picture of a camera. While there is no connection, it waits in memory."""
        self._client.publish(snapshot_topic(self._prefix, camera), jpeg, qos=1)

    def close(self) -> list[str]:
        """Send what waits for up to half a second, and disconnect. The broker keeps the session.

        Returns:
            The identities of the answers that the broker has confirmed in the meantime.
        """
        end, sent = time.monotonic() + _CLOSE_SECONDS, self.take_sent()
        while self._waiting and self._client.is_connected() and time.monotonic() < end:
            time.sleep(0.01)
            sent += self.take_sent()
        self._client.disconnect()
        stopper = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopper.start()
        stopper.join(_CLOSE_SECONDS)
        return sent

    def _handle_connect(
        self, client: Client, data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._say(f"the broker {self._address} refuses the connection for commands ({reason}): check [mqtt].")
            return
        self._said = ""
        client.subscribe(command_topic(self._prefix), qos=1)

    def _handle_disconnect(
        self, client: Client, data: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if str(reason) == "Session taken over":
            self._say(
                "another device has the identity of this installation, as a copied disk has: "
                "remove the file instance in the state folder of one of them, and restart it."
            )

    def _handle_subscribe(
        self, client: Client, data: Any, number: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        for reason in reasons:
            if reason.is_failure:
                topic = command_topic(self._prefix)
                self._say(f"the broker {self._address} refuses to deliver {topic} ({reason}): allow this user to read it.")

    def _handle_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        # A retained command would arrive again after every reconnection.
        if not message.retain:
            self._on_command(bytes(message.payload))

    def _handle_publish(self, client: Client, data: Any, number: int, reason: ReasonCode, properties: Properties) -> None:
        # This thread holds a lock of the client, so it must not wait for the lock of `send_answer`.
        self._confirmed.append(number)
        if reason.is_failure:
            self._say(f"the broker {self._address} refuses an answer ({reason}): allow this user to write to {self._prefix}/#.")

    def _say(self, message: str) -> None:
        """Log a message, once until the connection is restored."""
        if message != self._said:
            self._said = message
            _log.warning("%s", message)
