"""The connection to an MQTT broker. It reconnects without limit and delivers a spool."""

from __future__ import annotations

import logging
import random
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from maskedge.errors import UsageError
from maskedge.support.files import is_file
from maskedge.support.network.tls import client_tls

from .delivery import IN_FLIGHT, Delivery
from .exchange import Exchange
from .fleet import LARGEST_CONFIRMATION
from .topics import availability_topic, received_topic, spooled_topic

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_log = logging.getLogger(__name__)

_KEEP_ALIVE = 30
_ANSWER_TIMEOUT = 10.0
_SESSION = 3600
_CLOSE_SECONDS = 0.5
_LONGEST_WAIT = 30.0
_LONGEST_SLEEP = 1.0


@dataclass(frozen=True)
class Address:
    """Address and credentials of a broker.

    Attributes:
        host: Host name.
        port: Port.
        tls: Certificates to trust and to present; None for no TLS.
        username: User name; None to connect anonymously.
        password: Password.
        client_id: Name of the session; empty for a new one each run.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None
    client_id: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def split_url(url: str) -> tuple[str, int, bool]:
    """Return host, port and True for TLS.

    Args:
        url: `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.

    Raises:
        UsageError: `url` has another form.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if "@" in parts.netloc:
        raise UsageError("user name and password do not belong in the broker's URL: set [mqtt] username and password.")
    if parts.scheme not in ("mqtt", "mqtts") or not host or parts.path.strip("/") or parts.query:
        raise UsageError("a broker is given as mqtt://HOST:PORT or mqtts://HOST:PORT ([mqtt] url).")
    return host, port or (8883 if parts.scheme == "mqtts" else 1883), parts.scheme == "mqtts"


def open_tls(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, *, insecure: bool) -> ssl.SSLContext:
    """Return the TLS context for a broker.

    Args:
        ca_file: Trusted certificate authorities, PEM; None for those of the system.
        cert_file: Client certificate, PEM, for brokers that require one.
        key_file: Key of the client certificate; None if it is in `cert_file`.
        insecure: Accept any certificate.

    Raises:
        UsageError: A file cannot be read.
    """
    for path in (ca_file, cert_file, key_file):
        if path and not is_file(path):
            raise UsageError(f"the certificate file {path} does not exist, or may not be read: check [mqtt].")
    try:
        context = client_tls(ca_file)
        if cert_file:
            context.load_cert_chain(cert_file, key_file, password=_no_password)
    except OSError as error:
        files = ", ".join(str(path) for path in (ca_file, cert_file, key_file) if path)
        raise UsageError(f"{files} do not contain a matching certificate and key ({_words(error)}): give PEM files.") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    """Return an empty password, so that OpenSSL does not prompt for a password."""
    return ""


class BrokerLink:
    """Maintains a connection on a separate thread.

    When the connection breaks, messages that the broker has not confirmed are completed later in
    the broker's session. If the broker has lost that session, they are sent again. The thread
    sleeps while there is nothing to do.

    Args:
        address: The broker.
        delivery: The messages of the spool.
        prefix: Prefix of the topics of the device. The broker publishes `offline` on its
            availability as last will.
        on_state: Called on this thread: with a message when the broker is unreachable or refuses
            the connection, and with None when the connection is restored.
        on_tick: Called on this thread while connected. It may call `publish_value`. It returns the
            seconds after which it wants to be called again.
        on_cleared: Called on this thread with a topic whose retained message the broker has
            removed.
        on_received: Called on this thread with each message on the topic on which a fleet confirms
            messages. None for no fleet. With a fleet, `on_tick` is called while not connected, too.

    Attributes:
        problem: Reason for the missing connection; None while connected.
    """

    def __init__(
        self,
        address: Address,
        delivery: Delivery,
        prefix: str,
        *,
        on_state: Callable[[str | None], None],
        on_tick: Callable[[], float],
        on_cleared: Callable[[str], None] = lambda _: None,
        on_received: Callable[[bytes], None] | None = None,
    ) -> None:
        self.problem: str | None = None
        self._address = address
        self._delivery = delivery
        self._prefix = prefix
        self._availability = availability_topic(prefix)
        self._on_state = on_state
        self._on_tick = on_tick
        self._on_cleared = on_cleared
        self._on_received = on_received
        self._exchange = Exchange()
        self._client_id = address.client_id or f"maskedge-{secrets.token_hex(6)}"
        self._retained: dict[str, str | bytes] = {}
        self._pending: dict[str, tuple[str | bytes, bool]] = {}
        self._values_lock = threading.Lock()
        # The values below are used on the thread of the connection.
        self._greeting = 0
        self._publishing: tuple[int, str] | None = None
        self._refused: set[str] = set()
        self._clearing: dict[int, str] = {}
        self._connected = self._established = False
        self._over = self._renew = self._stale = self._warned = False
        self._client = self._make_client()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def publish_value(self, topic: str, payload: str | bytes, *, retain: bool) -> None:
        """Publish a value that replaces earlier values of its topic.

        Args:
            topic: The topic.
            payload: The value. An empty value with `retain` removes the retained message.
            retain: Let the broker retain it, and publish it again after each reconnection.
        """
        with self._values_lock:
            if retain:
                self._retained[topic] = payload
            self._pending[topic] = (payload, retain)
        self.wake()

    def wake(self) -> None:
        """Wake the thread, so that it looks at the spool at once."""
        self._exchange.wake()

    @property
    def is_idle(self) -> bool:
        """True if no value waits to be published or confirmed."""
        with self._values_lock:
            return not self._pending and self._publishing is None

    @property
    def local_address(self) -> str | None:
        """Address of this machine in the broker's network; None while not connected."""
        connection: Any = self._client.socket()
        try:
            return None if connection is None else str(connection.getsockname()[0])
        except OSError:
            return None

    def close(self) -> None:
        """Send messages for half a second, publish `offline`, and disconnect."""
        self._stop.set()
        self.wake()
        self._thread.join(2 * _CLOSE_SECONDS)

    def _make_client(self, *, wipe: bool = False) -> Client:
        """Return a client that resumes its session. With `wipe`, the client ends the session."""
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        client = Client(CallbackAPIVersion.VERSION2, self._client_id, protocol=MQTTv5, reconnect_on_failure=False)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.connect_timeout = 5.0
        client.username_pw_set(self._address.username, self._address.password)
        if self._address.tls:
            client.tls_set_context(self._address.tls)
        client.will_set(self._availability, "offline", qos=1, retain=True)
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_publish = self._handle_publish
        if self._on_received is not None:
            client.on_message = self._handle_message
            client.on_subscribe = self._handle_subscribe
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0 if wipe else _SESSION
        if self._on_received is not None:
            properties.MaximumPacketSize = 2 * LARGEST_CONFIRMATION
        # Mosquitto loses a clean-start session when it restarts, so a new session gets a new name.
        client.connect_async(self._address.host, self._address.port, _KEEP_ALIVE, clean_start=wipe, properties=properties)
        self._wiping = wipe
        return client

    def _run(self) -> None:
        wait = 1.0
        while not self._stop.is_set():
            self._over = self._connected = False
            try:
                self._client.reconnect()
            except (OSError, UnicodeError) as error:
                self._away(_describe_error(error, self._address), refused=isinstance(error, ssl.SSLError))
            else:
                if self._serve():
                    wait = 1.0
            if self._renew:
                self._start_anew()
                if self.problem is None:
                    continue
            self._pause(wait * random.uniform(0.5, 1.0))  # noqa: S311  (no secret: spreads reconnections of several devices)
            wait = min(2 * wait, _LONGEST_WAIT)
        self._exchange.close()

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt to connect. A fleet gets its statistics in the meantime."""
        end = time.monotonic() + seconds
        while not self._stop.is_set() and (left := end - time.monotonic()) > 0:
            self._stop.wait(left if self._on_received is None else min(left, max(0.0, self._on_tick())))

    def _serve(self) -> bool:
        """Exchange messages until the connection ends. Return True if there was a connection."""
        served = False
        asked = time.monotonic()
        deadline: float | None = None
        sleep = 0.0
        while self._exchange.step(self._client, sleep) and not self._over:
            now = time.monotonic()
            if not self._connected:
                left = asked + _ANSWER_TIMEOUT - now
                if self._stop.is_set() or left < 0:
                    self._away(f"the broker {self._address} does not answer: check that it is an MQTT broker.")
                    break
                sleep = min(left, _LONGEST_SLEEP)
                continue
            served = True
            sleep = _LONGEST_SLEEP
            if self._stop.is_set():
                deadline = deadline or now + _CLOSE_SECONDS
                if now > deadline or self._done():
                    self._leave()
                    break
                sleep = deadline - now
            else:
                sleep = min(sleep, self._on_tick())
            self._send_next()
            sleep = max(0.0, min(sleep, self._delivery.seconds_left()))
        if not self._over and not self._stop.is_set():
            self._away(self.problem or f"the connection to the broker {self._address} is lost: events wait in the spool.")
        return served

    def _send_next(self) -> None:
        """Remove confirmed messages, then publish the next ones of the spool and changed values."""
        self._delivery.remove_arrived()
        for message in self._delivery.next_messages():
            properties = _sent_now() if self._on_received is not None else None
            topic = spooled_topic(self._prefix, message.topic)
            packet = self._client.publish(topic, message.payload, self._delivery.qos, properties=properties).mid
            self._delivery.add_sent(packet, message)
        if self._delivery.is_stuck and not self._warned:
            self._warned = True
            _log.warning(
                "the fleet confirms no message of %s: check that edge-fleet runs, and that this user may read %s; "
                "events and statistics wait in the spool.",
                self._prefix,
                received_topic(self._prefix),
            )
        self._publish_values()

    def _publish_values(self) -> None:
        """Publish changed values.

        Retained values are sent one at a time. A broker may refuse a value and disconnect at once,
        and the refused topic must then be known.
        """
        with self._values_lock:
            ready: dict[str, tuple[str | bytes, bool]] = {}
            for topic, (payload, retain) in self._pending.items():
                if (
                    not retain
                    or self._is_refused(topic)
                    or (self._publishing is None and not any(kept for _, kept in ready.values()))
                ):
                    ready[topic] = payload, retain
            for topic in ready:
                del self._pending[topic]
        for topic, (payload, retain) in ready.items():
            if retain and self._is_refused(topic):
                continue
            number = self._client.publish(topic, payload, qos=int(retain), retain=retain).mid
            if retain:
                self._publishing = number, topic
                if not payload:
                    self._clearing[number] = topic

    def _is_refused(self, topic: str) -> bool:
        return topic in self._refused or topic.partition("/")[0] in self._refused

    def _refuse(self, topic: str, reason: str) -> None:
        """Stop publishing to a refused topic.

        If the topic is outside the prefix of this device, all topics with the same root are
        dropped, because events must not wait for Home Assistant's topics.
        """
        root = topic.partition("/")[0]
        self._refused.add(topic if root == self._availability.partition("/")[0] else root)
        _log.warning(
            "the broker %s refuses messages to %s (%s): allow this user to write there, and restart; "
            "until then they are not published.",
            self._address,
            topic,
            reason,
        )

    def _start_anew(self) -> None:
        """Create a new client. It starts with the first unconfirmed message."""
        self._drain()
        was_wiping = self._wiping
        self._client = self._make_client(wipe=self._stale)
        self._delivery.start_anew()
        self._clearing, self._publishing = {}, None
        self._renew = False
        # If the broker has lost the session, it has just started a session for the new client.
        self._established = not self._stale and not was_wiping

    def _done(self) -> bool:
        return not self._pending and self._publishing is None and self._delivery.is_complete

    def _leave(self) -> None:
        message = self._client.publish(self._availability, "offline", qos=1, retain=True)
        end = time.monotonic() + _CLOSE_SECONDS / 2
        # If the client disconnected before the confirmation, the broker would publish the last
        # will, a second `offline`.
        while message.rc == 0 and not message.is_published() and (left := end - time.monotonic()) > 0:
            if not self._exchange.step(self._client, left):
                break
        self._client.disconnect()
        self._drain()

    def _drain(self) -> None:
        """Serve a connection after a disconnect until it has ended."""
        end = time.monotonic() + _CLOSE_SECONDS / 2
        while (left := end - time.monotonic()) > 0 and self._exchange.step(self._client, left):
            pass

    def _handle_connect(
        self, client: Client, data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._away(_describe_refusal(str(reason), self._address), refused=True)
            self._over = True
            return
        self._stale = flags.session_present and not self._established
        forgotten = self._established and not flags.session_present and self._delivery.has_in_flight
        if self._stale or forgotten or self._wiping:
            # The broker has lost the messages in flight, or holds messages of another run. This
            # client must not resume.
            client.disconnect()
            self._renew = self._over = True
            return
        self._established = True
        if self._on_received is not None:
            client.subscribe(received_topic(self._prefix), qos=1)
        self._greeting = client.publish(self._availability, "online", qos=1, retain=True).mid

    def _handle_disconnect(
        self, client: Client, data: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._connected = False
        if flags.is_disconnect_packet_from_server:
            self._away(_describe_refusal(str(reason), self._address), refused=True)

    def _handle_publish(self, client: Client, data: Any, number: int, reason: ReasonCode, properties: Properties) -> None:
        greeting, message = number == self._greeting, self._delivery.has_sent(number)
        if self._publishing is not None and number == self._publishing[0]:
            if reason.is_failure:
                self._refuse(self._publishing[1], str(reason))
            self._publishing = None
        if reason.is_failure and (greeting or message):
            # The broker reports a missing permission to publish only here, and not for QoS 2. No
            # event is therefore sent before the greeting.
            self._away(_describe_refusal(str(reason), self._address), refused=True)
            self._renew = self._over = True
        elif message:
            self._delivery.confirm_packet(number)
        elif (topic := self._clearing.pop(number, None)) is not None and not reason.is_failure:
            with self._values_lock:
                # Not if a new value has been set since.
                cleared = not self._retained.get(topic)
                if cleared:
                    self._retained.pop(topic, None)
            if cleared:
                self._on_cleared(topic)
        elif greeting and not self._connected:
            self._connected = True
            self._delivery.resume()
            with self._values_lock:
                self._pending = {topic: (payload, True) for topic, payload in self._retained.items()}
            if self.problem is not None:
                self.problem = None
                self._on_state(None)

    def _handle_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        if self._on_received is not None:
            self._on_received(bytes(message.payload))
            self._warned &= self._delivery.is_stuck

    def _handle_subscribe(
        self, client: Client, data: Any, number: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        for reason in reasons:
            if reason.is_failure:
                _log.warning(
                    "the broker %s refuses to deliver %s (%s): allow this user to read it, and restart; "
                    "until then events and statistics wait in the spool.",
                    self._address,
                    received_topic(self._prefix),
                    reason,
                )

    def _away(self, message: str, *, refused: bool = False) -> None:
        """Record the reason for the missing connection.

        An interruption is reported once, even if its reason changes. A refusal during the
        interruption is reported too.
        """
        report = self.problem is None or (refused and message != self.problem)
        self.problem = message
        if report:
            self._on_state(message)


def _sent_now() -> Properties:
    """Return the property `sent` of a message: the time of this clock, in seconds since the epoch."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = ("sent", f"{time.time():.3f}")
    return properties


def _words(error: OSError | UnicodeError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (getattr(error, "strerror", None) or str(error)).strip()


def _describe_error(error: OSError | UnicodeError, address: Address) -> str:
    """Return the message for a broker that cannot be reached."""
    reason, wait = _words(error), "events wait in the spool"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted ({reason}): check ca_file and the host of url in [mqtt]; {wait}."
    if isinstance(error, ssl.SSLError):
        return f"the TLS connection to the broker {address} failed ({reason}): check port and certificates in [mqtt]; {wait}."
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"the broker's name {address.host} is not known: check [mqtt] url and the network; {wait}."
    return f"the broker {address} cannot be reached ({reason}): {wait}."


def _describe_refusal(reason: str, address: Address) -> str:
    """Return the message for a connection that the broker refuses."""
    wait = "events wait in the spool"
    remedies = {
        "Bad user name or password": "check [mqtt] username and password",
        "Not authorized": "check [mqtt] username and password, and the permissions of this user at the broker",
        "Unsupported protocol version": "it must speak MQTT 5",
        "QoS not supported": "set [mqtt] qos = 1, or let the broker accept quality of service 1 and 2",
        "Retain not supported": "it must be allowed to keep retained messages",
        "Session taken over": "another client uses the same [mqtt] client_id",
    }
    remedy = remedies.get(reason)
    return f"the broker {address} refuses the connection ({reason}){': ' + remedy if remedy else ''}; {wait}."
