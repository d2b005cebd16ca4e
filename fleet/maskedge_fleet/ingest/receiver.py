"""The connection of the ingest to the broker, and the queue of messages that are not in the database yet."""

from __future__ import annotations

import contextlib
import logging
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .broker import BrokerSettings, make_client
from .messages import KEPT_BYTES, MAX_PICTURE_BYTES, RawMessage
from .topics import state_topics, subscriptions

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_log = logging.getLogger("maskedge.fleet.ingest")

BATCH = 2000
"""Most messages of a batch."""
LINGER_S = 0.2
"""Longest time to wait for a batch to fill."""
RECEIVE_MAXIMUM = 5000
"""Messages that the broker may send before they are in the database."""
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Payload that may wait for the database. The broker holds what is more."""
_IDLE_S = 0.02
_SLICE_S = 0.05
_READS = 200
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_STABLE_S = 2.0
"""A connection that lasts longer is well."""
_SHORT_CONNECTIONS = 3
_ANSWER_TIMEOUT_S = 10.0
_CLOSE_S = 2.0
_MOST_ASKED = 100
_ASKED_S = 5.0
"""Seconds in which the broker sends what it retains of a device."""


class Receiver:
    """Receives messages on a thread of its own. It reconnects without limit.

    The broker keeps the session, so messages wait at the broker while this program does not run. A
    message is acknowledged by `finish`.

    Args:
        settings: The broker.
        root: First part of all topics.
        client_id: Name of the session. Each process has another one.
        session_s: Seconds that the broker keeps the session after a disconnection.

    Raises:
        UsageError: The settings are not valid.
    """

    def __init__(self, settings: BrokerSettings, root: str, client_id: str, session_s: int) -> None:
        self._settings = settings
        self._address = settings.address
        self._client_id = client_id
        self._root = root
        self._client = make_client(
            settings, client_id, session_s=session_s, receive_maximum=RECEIVE_MAXIMUM, manual_acknowledgement=True
        )
        self._client.on_connect = self._handle_connect
        self._client.on_disconnect = self._handle_disconnect
        self._client.on_subscribe = self._handle_subscribe
        self._client.on_message = self._handle_message
        self._lock = threading.Lock()
        self._queue: deque[RawMessage] = deque()
        self._bytes = 0
        self._filled = threading.Event()
        self._finished: deque[tuple[Sequence[tuple[str, str]], Sequence[RawMessage]]] = deque()
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._wanted: deque[str] = deque()
        # Used on the thread of the connection only.
        self._connection = 0
        self._connected = self._is_refused = self._left_out = False
        self._problem: str | None = None
        self._arrived = 0
        self._asked: deque[tuple[float, list[str]]] = deque()
        self._thread = threading.Thread(target=self._run_safely, name="ingest-mqtt", daemon=True)

    def start(self) -> None:
        """Start to connect."""
        self._thread.start()

    def take(self, timeout_s: float) -> list[RawMessage]:
        """Return the next messages in the order of their arrival; none after the timeout.

        A batch is complete when no message arrives for a moment.

        Raises:
            Exception: The thread of the connection has failed.
        """
        if not self._filled.wait(timeout_s):
            if self._error is not None:
                raise self._error
            return []
        end, count = time.monotonic() + LINGER_S, 0
        while count < len(self._queue) < BATCH and time.monotonic() < end and not self._stop.is_set():
            count = len(self._queue)
            time.sleep(_IDLE_S)
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._bytes -= sum(len(message.payload) for message in batch)
            if not self._queue:
                self._filled.clear()
        return batch

    def finish(self, messages: Sequence[RawMessage], confirmations: Sequence[tuple[str, str]]) -> None:
        """Publish confirmations to devices, then acknowledge messages to the broker. Both follow soon.

        Args:
            messages: Messages that are in the database.
            confirmations: Topics and payloads.
        """
        self._finished.append((confirmations, messages))

    def ask_for_states(self, devices: Iterable[str]) -> None:
        """Ask the broker for the state and availability of devices that it has sent already."""
        self._wanted.extend(devices)

    def close(self) -> None:
        """Send what `finish` got, and disconnect. The broker keeps the session."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * _CLOSE_S)

    def _run_safely(self) -> None:
        try:
            self._run()
        except Exception as error:  # noqa: BLE001  (take raises it on the other thread)
            self._error = error

    def _run(self) -> None:
        wait, short = _SHORTEST_WAIT_S, 0
        while not self._stop.is_set():
            self._connected = False
            try:
                self._client.reconnect()
            except (OSError, UnicodeError) as error:
                self._away(_describe(error, self._address))
            else:
                lasted = self._serve()
                if self._left_out and not self._stop.is_set():
                    # The broker sends the messages that were left out again.
                    self._left_out = False
                    continue
                if lasted > _STABLE_S:
                    wait = _SHORTEST_WAIT_S
                short = short + 1 if 0 < lasted <= _STABLE_S else 0
                if short == _SHORT_CONNECTIONS:
                    # Mosquitto does not send the reason.
                    _log.warning(
                        "the broker %s closes the connection again and again: give each ingest its own --client-id.", self._address
                    )
            if self._stop.wait(wait * random.uniform(0.5, 1.0)):  # noqa: S311  (no secret: spreads reconnections)
                break
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _serve(self) -> float:
        """Exchange messages until the connection ends. Return how many seconds it could be used."""
        client, started = self._client, time.monotonic()
        since: float | None = None
        self._is_refused = False
        while client.loop(_SLICE_S) == 0 and not self._is_refused:
            for _ in range(_READS):
                arrived = self._arrived
                if client.loop_read() != 0 or arrived == self._arrived:
                    break
            now = time.monotonic()
            if not self._connected:
                if self._stop.is_set():
                    break
                if now - started > _ANSWER_TIMEOUT_S:
                    self._away(f"the broker {self._address} does not answer: check that it is an MQTT broker.")
                    break
                continue
            since = now if since is None else since
            if self._problem is not None and now - since > _STABLE_S:
                self._problem = None
                _log.info("the broker %s is back.", self._address)
            self._send()
            self._ask()
            if self._stop.is_set() or (self._left_out and not self._queue and not self._finished):
                self._leave()
                return now - since
        if not self._stop.is_set() and not self._is_refused:
            self._away(f"the connection to the broker {self._address} is lost: devices keep their messages.")
        with contextlib.suppress(OSError):
            client.disconnect()
        return 0.0 if since is None else time.monotonic() - since

    def _send(self) -> None:
        while self._finished:
            confirmations, messages = self._finished.popleft()
            for topic, payload in confirmations:
                self._client.publish(topic, payload, qos=1)
            for message in messages:
                # The numbers of an earlier connection may have another meaning now.
                if message.number and message.connection == self._connection:
                    self._client.ack(message.number, 1)

    def _ask(self) -> None:
        """Subscribe for a while to the topics of single devices: the broker sends what it retains at a subscription."""
        now = time.monotonic()
        if self._wanted:
            from paho.mqtt.subscribeoptions import SubscribeOptions

            devices = [self._wanted.popleft() for _ in range(min(_MOST_ASKED, len(self._wanted)))]
            topics = [topic for device in devices for topic in state_topics(self._root, device)]
            self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in topics])
            self._asked.append((now + _ASKED_S, topics))
        if self._asked and self._asked[0][0] <= now:
            self._client.unsubscribe(self._asked.popleft()[1])

    def _leave(self) -> None:
        """Disconnect after what is under way was sent."""
        end = time.monotonic() + _CLOSE_S
        while self._client.want_write() and self._client.loop(_SLICE_S) == 0 and time.monotonic() < end:
            pass
        self._client.disconnect()
        while self._client.loop(_SLICE_S) == 0 and time.monotonic() < end:
            pass

    def _handle_connect(
        self, client: Client, data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._away(_describe_refusal(str(reason), self._address))
            self._is_refused = True
            return
        if getattr(properties, "SharedSubscriptionAvailable", 1) == 0:
            self._away(f"the broker {self._address} refuses shared subscriptions: use another broker, such as Mosquitto.")
            self._is_refused = True
            return
        self._connection += 1
        if flags.session_present:
            # The broker sends them again.
            with self._lock:
                self._queue = deque(message for message in self._queue if not message.number)
                self._bytes = sum(len(message.payload) for message in self._queue)
        from paho.mqtt.subscribeoptions import SubscribeOptions

        shared, own = subscriptions(self._root)
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in (*shared, *own)])

    def _handle_subscribe(
        self, client: Client, data: Any, number: int, reasons: Sequence[ReasonCode], properties: Properties | None
    ) -> None:
        refused = next((reason for reason in reasons if reason.is_failure), None)
        if refused is not None:
            self._away(
                f"the broker {self._address} refuses to send messages of {self._root} ({refused}): "
                f"allow its user to read {self._root}/#."
            )
            self._is_refused = True
            return
        self._connected = True

    def _handle_disconnect(
        self, client: Client, data: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._away(_describe_refusal(str(reason), self._address, "closed the connection"))
            self._is_refused = True

    def _handle_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        self._arrived += 1
        size = len(message.payload)
        number = message.mid if message.qos else 0
        if self._bytes > MAX_WAITING_BYTES:
            self._left_out = self._left_out or number > 0
            return
        raw = RawMessage(
            _topic_of(message),
            bytes(message.payload if size <= MAX_PICTURE_BYTES else message.payload[:KEPT_BYTES]),
            size,
            datetime.now(timezone.utc),
            _sent(message),
            message.retain,
            message.dup,
            number,
            self._connection,
        )
        with self._lock:
            self._queue.append(raw)
            self._bytes += len(raw.payload)
            self._filled.set()

    def _away(self, problem: str) -> None:
        """Log the reason for the missing connection, once until its kind changes."""
        if problem != self._problem and (self._problem is None or "refuses" in problem):
            _log.warning("%s", problem)
        self._problem = problem


def _topic_of(message: MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:
        return "a topic that is not UTF-8"


def _sent(message: MQTTMessage) -> float | None:
    """Return the property `sent` of a message, in seconds since the epoch; None if it is missing or invalid."""
    for name, value in getattr(message.properties, "UserProperty", ()):
        if name == "sent":
            with contextlib.suppress(ValueError):
                return float(value) if abs(float(value)) < 1e11 else None
    return None


def _describe(error: OSError | UnicodeError, address: str) -> str:
    reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else getattr(error, "strerror", None) or error
    if isinstance(error, ssl.SSLError):
        return f"the TLS connection to the broker {address} failed ({reason}): check its URL and the certificates (--ca-file)."
    return f"the broker {address} cannot be reached ({reason}): devices keep their messages."


def _describe_refusal(reason: str, address: str, action: str = "refuses the connection") -> str:
    remedies = {
        "Bad user name or password": "check the user name and the password",
        "Not authorized": "check the user name, the password and the permissions of this user",
        "Unsupported protocol version": "it must speak MQTT 5",
        "Session taken over": "give each ingest its own --client-id",
    }
    remedy = remedies.get(reason)
    return f"the broker {address} {action} ({reason}){': ' + remedy if remedy else ''}."
