"""A real Mosquitto broker on a free port of loopback, and certificates for it."""

from __future__ import annotations

import atexit
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from helpers.support import free_port


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


class Mosquitto:
    """A broker whose sessions survive a restart."""

    def __init__(self, folder: Path, *lines: str, persistent: bool = True) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed")
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        configuration = [
            f"listener {self.port} 127.0.0.1",
            *(lines or ("allow_anonymous true",)),
            "max_queued_messages 0",
            *((f"persistence_location {folder}/", "persistence true") if persistent else ()),
        ]
        # Without `user root`, Mosquitto started by root changes to a user that cannot access the
        # folder of the test.
        (folder / "mosquitto.conf").write_text("\n".join(["user root", *configuration]) + "\n")
        self._command = [program, "-v", "-c", str(folder / "mosquitto.conf")]
        # A failing test may not stop the broker.
        atexit.register(self.stop)
        self.start()

    def start(self) -> None:
        """Start the broker, and wait until it listens."""
        log = self._log.open("ab")
        self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

        def listens() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_for(listens, "mosquitto")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the broker, by default cleanly."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def send(self, number: int) -> None:
        """Send a signal to the broker."""
        assert self._process is not None
        self._process.send_signal(number)

    def log(self) -> str:
        """Return the log of the broker."""
        return self._log.read_text(errors="replace")


class Listener:
    """A subscriber whose session the broker keeps while the subscriber or the broker is offline.

    Attributes:
        messages: Topic, payload and retained flag of each message, in the order of arrival.
    """

    def __init__(self, port: int, topic: str = "#", **options: str) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self._subscribed = threading.Event()
        self._name = f"listener-{port}-{time.monotonic_ns()}"
        self._client = Client(CallbackAPIVersion.VERSION2, self._name, protocol=MQTTv5)
        self._client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=2)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        if options:
            self._client.username_pw_set(**options)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        # Not a clean start: Mosquitto 2.0.11 forgets such a session when it restarts.
        self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._subscribed.wait(60)

    def _take(self, client: Client, data: object, message: MQTTMessage) -> None:
        arrived = (message.topic, message.payload.decode("utf-8", "surrogateescape"), message.retain)
        # After a restart, Mosquitto 2.0.11 may repeat a message that a subscriber has just
        # confirmed. It marks such a message as a duplicate, unlike one that a publisher sent twice.
        if not (message.dup and arrived in self.messages):
            self.messages.append(arrived)

    def of(self, topic: str) -> list[str]:
        """Return the payloads of a topic."""
        return [payload for name, payload, _ in list(self.messages) if name == topic]

    def wait_for_retained(self) -> None:
        """Wait until the broker has sent every retained message that it had when this subscriber came.

        The broker does not say so. It sends them before a message that this subscriber publishes now. The subscriber must
        have subscribed to all topics.
        """
        marker = f"{self._name}/marker"
        self._client.publish(marker, "all before", qos=1)
        wait_for(lambda: self.of(marker), "the end of the retained messages")

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


def make_certificates(folder: Path, name: str = "localhost") -> dict[str, Path]:
    """Make a certificate authority (`ca`), and a certificate (`cert`, `key`) for `name`."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder.mkdir(exist_ok=True)
    files = {part: folder / f"{part}.pem" for part in ("ca", "ca_key", "cert", "key", "request")}
    for part, key, subject, more in (
        ("ca", "ca_key", "/CN=test authority", ("-x509", "-days", "2")),
        ("request", "key", f"/CN={name}", ()),
    ):
        options = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject)
        subprocess.run(
            ["openssl", "req", *options, *more, "-keyout", files[key], "-out", files[part]], check=True, capture_output=True
        )
    extension = folder / "extension"
    extension.write_text(f"subjectAltName=DNS:{name}\n")
    signing = ("-CA", files["ca"], "-CAkey", files["ca_key"], "-CAcreateserial", "-days", "2", "-extfile", extension)
    subprocess.run(
        ["openssl", "x509", "-req", "-in", files["request"], *signing, "-out", files["cert"]], check=True, capture_output=True
    )
    return files
