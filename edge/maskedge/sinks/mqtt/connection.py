"""The link to an MQTT broker: connects again for ever, and hands over a spool so that each message arrives once."""

from __future__ import annotations

import contextlib
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

from maskedge.errors import OutputError, UsageError
from maskedge.support.files import is_file

from .spool import Message, Spool

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_log = logging.getLogger(__name__)

_IN_FLIGHT = 16  # below the 20 that Mosquitto takes by default
_KEEP_ALIVE = 30
_ANSWER_TIMEOUT = 10.0
_SLICE = 0.05
_SESSION = 3600
_FAREWELL = 0.5
_LONGEST_WAIT = 30.0


@dataclass(frozen=True)
class Address:
    """Where a broker is and how to get in.

    Attributes:
        host: Its name.
        port: Its port.
        tls: What certificates to trust and to show; None without TLS.
        username: Who we are, None for nobody.
        password: Its password.
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
    """Give host, port and whether TLS is asked for.

    Args:
        url: `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.

    Raises:
        UsageError: It is none.
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
    """Prepare TLS.

    Args:
        ca_file: Certificates of who may sign the broker's, PEM; None for those of the system.
        cert_file: Our own certificate, PEM, for brokers that ask for one.
        key_file: Its key; None when it lies in `cert_file`.
        insecure: Take any certificate.

    Raises:
        UsageError: A file cannot be read.
    """
    for path in (ca_file, cert_file, key_file):
        if path and not is_file(path):
            raise UsageError(f"the certificate file {path} does not exist, or may not be read: check [mqtt].")
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if cert_file:
            context.load_cert_chain(cert_file, key_file, password=_no_password)
    except OSError as error:
        files = ", ".join(str(path) for path in (ca_file, cert_file, key_file) if path)
        raise UsageError(f"{files}: no certificate and key that fit ({_words(error)}): PEM files are needed.") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    """Keep OpenSSL from asking at the terminal."""
    return ""


class BrokerLink:
    """Keeps a connection on a thread of its own.

    With QoS 2 each message of the spool arrives once: what the broker has not confirmed when the connection breaks is finished in
    the broker's session of before, or, where the broker forgot that session, sent again. A message leaves the spool when the
    broker confirms it.

    Args:
        address: The broker.
        spool: Messages for `topic`, in order.
        topic: Where the spool goes.
        qos: 1 or 2.
        availability: Topic that says `online` or, by the broker when we are gone, `offline`.
        on_state: Called with a sentence when the broker is away or refuses us, and with None when it is back; on the link's thread.
        on_tick: Called again and again while the broker is there, on the link's thread; may call `publish_value`.

    Attributes:
        problem: Why the broker is away, None while it is there.
        delivered: Messages of the spool that the broker has confirmed.
        on_cleared: Called with a topic of which the broker has removed what it had retained, on the link's thread.
    """

    def __init__(
        self,
        address: Address,
        spool: Spool,
        topic: str,
        *,
        qos: int,
        availability: str,
        on_state: Callable[[str | None], None],
        on_tick: Callable[[], None],
        on_cleared: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.problem: str | None = None
        self.delivered = 0
        self._address = address
        self._spool = spool
        self._topic = topic
        self._qos = qos
        self._availability = availability
        self._on_state = on_state
        self._on_tick = on_tick
        self._on_cleared = on_cleared
        self._client_id = address.client_id or f"maskedge-{secrets.token_hex(6)}"
        self._retained: dict[str, str | bytes] = {}
        self._unsaid: dict[str, tuple[str | bytes, bool]] = {}
        self._say_lock = threading.Lock()
        # Everything below belongs to the link's thread.
        self._position = 0
        self._greeting = 0
        self._inflight: dict[int, Message] = {}
        self._saying: tuple[int, str] | None = None
        self._refused: set[str] = set()
        self._clearing: dict[int, str] = {}
        self._arrived: list[Message] = []
        self._connected = self._established = False
        self._over = self._renew = self._stale = False
        self._client = self._make_client()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def publish_value(self, topic: str, payload: str | bytes, *, retain: bool) -> None:
        """Publish a value of which only the newest matters.

        Args:
            topic: Where to.
            payload: What; empty with `retain` removes what the broker has retained.
            retain: Let the broker keep it for who comes later, and say it again after each connect.
        """
        with self._say_lock:
            if retain:
                self._retained[topic] = payload
            self._unsaid[topic] = (payload, retain)

    @property
    def local_address(self) -> str | None:
        """The address of this machine in the network of the broker; None while there is no connection."""
        connection: Any = self._client.socket()
        try:
            return None if connection is None else str(connection.getsockname()[0])
        except OSError:
            return None

    def close(self) -> None:
        """Hand over what can be within half a second, say `offline`, and leave."""
        self._stop.set()
        self._thread.join(2 * _FAREWELL)

    def _make_client(self, *, wipe: bool = False) -> Client:
        """Make a client that goes on with its session, or one that ends it (`wipe`)."""
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        client = Client(CallbackAPIVersion.VERSION2, self._client_id, protocol=MQTTv5, reconnect_on_failure=False)
        client.max_inflight_messages_set(_IN_FLIGHT)
        client.connect_timeout = 5.0
        client.username_pw_set(self._address.username, self._address.password)
        if self._address.tls:
            client.tls_set_context(self._address.tls)
        client.will_set(self._availability, "offline", qos=1, retain=True)
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_publish = self._handle_publish
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0 if wipe else _SESSION
        # Mosquitto forgets a session that was begun with a clean start when it restarts: a new session is one with a new name.
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
                self._away(_sentence(error, self._address), refused=isinstance(error, ssl.SSLError))
            else:
                if self._serve():
                    wait = 1.0
            if self._renew:
                self._start_anew()
                if self.problem is None:
                    continue
            if self._stop.wait(wait * random.uniform(0.5, 1.0)):  # noqa: S311  (no secret: spreads the devices of a house)
                break
            wait = min(2 * wait, _LONGEST_WAIT)

    def _serve(self) -> bool:
        """Talk with the broker until the connection ends. Tells whether there was one."""
        served = False
        asked = time.monotonic()
        farewell: float | None = None
        while self._client.loop(_SLICE) == 0 and not self._over:
            now = time.monotonic()
            if not self._connected:
                if self._stop.is_set() or now - asked > _ANSWER_TIMEOUT:
                    self._away(f"the broker {self._address} does not answer: is that an MQTT broker?")
                    break
                continue
            served = True
            if self._stop.is_set():
                farewell = farewell or now + _FAREWELL
                if now > farewell or self._done():
                    self._leave()
                    break
            else:
                self._on_tick()
            self._hand_over()
        if not self._over and not self._stop.is_set():
            self._away(self.problem or f"the broker {self._address} is gone: events wait in the spool.")
        return served

    def _hand_over(self) -> None:
        """Confirm, publish what is next in the spool, and say what is new."""
        if self._arrived:
            # On a full disk they stay listed here, so that they are not sent again in this run.
            with contextlib.suppress(OutputError):
                self._spool.remove(self._arrived)
                self._arrived = []
        if len(self._spool) > len(self._inflight) + len(self._arrived):
            arrived = {message.number for message in self._arrived}
            for message in self._spool.after(self._position, _IN_FLIGHT - len(self._inflight)):
                self._position = message.number
                if message.number not in arrived:
                    self._inflight[self._client.publish(self._topic, message.payload, self._qos).mid] = message
        self._publish_values()

    def _publish_values(self) -> None:
        """Say what is new. Of what is retained one at a time: a broker may answer that it refuses one, and hang up at once."""
        with self._say_lock:
            ready: dict[str, tuple[str | bytes, bool]] = {}
            for topic, (payload, retain) in self._unsaid.items():
                if not retain or self._is_refused(topic) or (self._saying is None and not any(kept for _, kept in ready.values())):
                    ready[topic] = payload, retain
            for topic in ready:
                del self._unsaid[topic]
        for topic, (payload, retain) in ready.items():
            if retain and self._is_refused(topic):
                continue
            number = self._client.publish(topic, payload, qos=int(retain), retain=retain).mid
            if retain:
                self._saying = number, topic
                if not payload:
                    self._clearing[number] = topic

    def _is_refused(self, topic: str) -> bool:
        return topic in self._refused or topic.partition("/")[0] in self._refused

    def _refuse(self, topic: str, reason: str) -> None:
        """Do without a topic, and those beside it that are not ours: events must not wait for Home Assistant's."""
        root = topic.partition("/")[0]
        self._refused.add(topic if root == self._availability.partition("/")[0] else root)
        _log.warning(
            "the broker %s refuses what is published to %s (%s): let this user write there, and start again; "
            "until then that is left out.",
            self._address,
            topic,
            reason,
        )

    def _start_anew(self) -> None:
        """Take a new client, and begin with the first message that was not confirmed."""
        self._drain()
        was_wiping = self._wiping
        self._client = self._make_client(wipe=self._stale)
        self._position = min((message.number for message in self._inflight.values()), default=self._position + 1) - 1
        self._inflight, self._clearing, self._saying = {}, {}, None
        self._renew = False
        # Where the broker had forgotten, it has just begun a session that fits the new client.
        self._established = not self._stale and not was_wiping

    def _done(self) -> bool:
        return not self._unsaid and self._saying is None and len(self._spool) == 0

    def _leave(self) -> None:
        message = self._client.publish(self._availability, "offline", qos=1, retain=True)
        end = time.monotonic() + _FAREWELL / 2
        # A broker whose confirmation finds the connection closed takes it for lost, and adds the will: `offline` again.
        while message.rc == 0 and not message.is_published() and self._client.loop(_SLICE) == 0 and time.monotonic() < end:
            pass
        self._client.disconnect()
        self._drain()

    def _drain(self) -> None:
        """Let go of a connection that was told to end."""
        end = time.monotonic() + _FAREWELL / 2
        while self._client.loop(_SLICE) == 0 and time.monotonic() < end:
            pass

    def _handle_connect(
        self, client: Client, data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._away(_refusal(str(reason), self._address), refused=True)
            self._over = True
            return
        self._stale = flags.session_present and not self._established
        forgotten = self._established and not flags.session_present and self._inflight
        if self._stale or forgotten or self._wiping:
            # The broker forgot the messages under way, or remembers some of another run: this client must not go on with them.
            client.disconnect()
            self._renew = self._over = True
            return
        self._established = True
        self._greeting = client.publish(self._availability, "online", qos=1, retain=True).mid

    def _handle_disconnect(
        self, client: Client, data: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._connected = False
        if flags.is_disconnect_packet_from_server:
            self._away(_refusal(str(reason), self._address), refused=True)

    def _handle_publish(self, client: Client, data: Any, number: int, reason: ReasonCode, properties: Properties) -> None:
        greeting, message = number == self._greeting, self._inflight.get(number)
        if self._saying is not None and number == self._saying[0]:
            if reason.is_failure:
                self._refuse(self._saying[1], str(reason))
            self._saying = None
        if reason.is_failure and (greeting or message):
            # A user without the right to publish is told so only here, and of QoS 2 not at all: no event goes before the greeting.
            self._away(_refusal(str(reason), self._address), refused=True)
            self._renew = self._over = True
        elif message:
            self._arrived.append(self._inflight.pop(number))
            self.delivered += 1
        elif (topic := self._clearing.pop(number, None)) is not None and not reason.is_failure:
            with self._say_lock:
                # Unless there is something again by now.
                cleared = not self._retained.get(topic)
                if cleared:
                    self._retained.pop(topic, None)
            if cleared:
                self._on_cleared(topic)
        elif greeting and not self._connected:
            self._connected = True
            with self._say_lock:
                self._unsaid = {topic: (payload, True) for topic, payload in self._retained.items()}
            if self.problem is not None:
                self.problem = None
                self._on_state(None)

    def _away(self, sentence: str, *, refused: bool = False) -> None:
        """Note why there is no broker. An absence is said once, whatever its reasons; a refusal in it is news."""
        news = self.problem is None or (refused and sentence != self.problem)
        self.problem = sentence
        if news:
            self._on_state(sentence)


def _words(error: OSError | UnicodeError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (getattr(error, "strerror", None) or str(error)).strip()


def _sentence(error: OSError | UnicodeError, address: Address) -> str:
    """Say why a broker cannot be reached."""
    reason, wait = _words(error), "events wait in the spool"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted ({reason}): check ca_file and the host of url in [mqtt]; {wait}."
    if isinstance(error, ssl.SSLError):
        return f"no TLS with the broker {address} ({reason}): check port and certificates in [mqtt]; {wait}."
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"the broker's name {address.host} is not known: check [mqtt] url and the network; {wait}."
    return f"the broker {address} cannot be reached ({reason}): {wait}."


def _refusal(reason: str, address: Address) -> str:
    """Say why a broker sent us away."""
    wait = "events wait in the spool"
    remedies = {
        "Bad user name or password": "check [mqtt] username and password",
        "Not authorized": "check [mqtt] username and password, and what the broker lets this user do",
        "Unsupported protocol version": "it must speak MQTT 5",
        "QoS not supported": "set [mqtt] qos = 1, or let the broker take quality of service 1 and 2",
        "Retain not supported": "it must be allowed to keep retained messages",
        "Session taken over": "another client uses the same [mqtt] client_id",
    }
    remedy = remedies.get(reason)
    return f"the broker {address} refuses us ({reason}){': ' + remedy if remedy else ''}; {wait}."
