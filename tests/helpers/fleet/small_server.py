"""The server of a fleet as a device sees it: it stores messages, confirms them and sends signed commands."""

from __future__ import annotations

import json
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from helpers.brokers import wait_for
from maskedge.modelfile.signature import generate_key, key_id, load_private_key


class Fleet:
    """Stores the events and statistics of a device, and confirms them.

    Args:
        port: Port of the broker.
        device: Prefix of the topics of the camera.
        confirms: Confirm each message at once.

    Attributes:
        stored: Topic and message, by the id of the message, in the order of the first arrival.
        sent: The property `sent` of each message that arrived.
        answers: The answers of the device, in order of arrival.
        pictures: Topic and content of each picture.
    """

    def __init__(self, port: int, device: str = "maskedge/door", *, confirms: bool = True) -> None:
        self.stored: dict[str, tuple[str, dict[str, Any]]] = {}
        self.sent: list[float] = []
        self.answers: list[dict[str, Any]] = []
        self.pictures: list[tuple[str, bytes]] = []
        self._device = device
        self._confirms = confirms
        self._spool = ""
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, f"fleet-{port}-{time.monotonic_ns()}", protocol=MQTTv5)
        self._client.reconnect_delay_set(0.05, 0.1)  # type: ignore[arg-type]
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(f"{device}/{rest}", 1) for rest in ("events", "statistics", "answer", "snapshot/+")]
        )
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(60)

    def publish(self, topic: str, payload: str | bytes) -> None:
        """Publish a message below the prefix of the device, and wait until the broker has it."""
        self._client.publish(f"{self._device}/{topic}", payload, qos=1).wait_for_publish(10)

    def confirm(self, ranges: list[list[int]]) -> None:
        """Confirm messages of the spool that sent the last message."""
        self.publish("received", json.dumps({"spool": self._spool, "ranges": ranges}))

    def order(self, token: str, status: str = "", seconds: float = 60) -> dict[str, Any]:
        """Send a command and wait for its final answer.

        Args:
            token: The signed command.
            status: The status that is waited for; empty for any but `progress`.
            seconds: Maximum time to wait.
        """
        self.publish("command", token)
        return self.answer_to(token, status, seconds)

    def answer_to(self, token: str, status: str = "", seconds: float = 60) -> dict[str, Any]:
        """Wait for the final answer to a command. See `order`."""
        identity = identity_of(token)

        def found() -> list[dict[str, Any]]:
            return [
                one
                for one in list(self.answers)
                if one["id"] == identity and (one["status"] == status if status else one["status"] != "progress")
            ]

        wait_for(found, f"the answer to {identity}", seconds)
        return found()[-1]

    def _take(self, client: Client, data: object, message: MQTTMessage) -> None:
        if "/snapshot/" in message.topic:
            self.pictures.append((message.topic, bytes(message.payload)))
            return
        content = json.loads(message.payload)
        if message.topic.endswith("/answer"):
            self.answers.append(content)
            return
        assert message.properties is not None
        self.sent.append(float(dict(message.properties.UserProperty)["sent"]))
        self._spool, _, number = content["id"].partition("-")
        self.stored.setdefault(content["id"], (message.topic, content))
        if self._confirms:
            confirmation = {"spool": self._spool, "ranges": [[int(number)] * 2]}
            client.publish(f"{self._device}/received", json.dumps(confirmation), qos=1)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


class Signer:
    """Signs commands with a key of its own.

    Attributes:
        public: File of the public key.
        key: The private key.
        identity: Id of the key.
        sequence: Number of the last command.
    """

    def __init__(self, folder: Path, name: str = "fleet") -> None:
        private, public = generate_key()
        (folder / f"{name}.key").write_bytes(private)
        self.public = folder / f"{name}.pub"
        self.public.write_bytes(public)
        self.key: Ed25519PrivateKey = load_private_key(folder / f"{name}.key")
        self.identity = key_id(self.key.public_key())
        self.sequence = 0

    def sign(self, name: str, arguments: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a signed command to the device `door`. `claims` replace those of a valid command; None leaves one out."""
        self.sequence += 1
        now = time.time()
        valid = {"jti": str(uuid.uuid4()), "aud": "door", "iat": now, "exp": now + 60, "seq": self.sequence, "cmd": name}
        all_claims = valid | {"args": arguments or {}} | claims
        kept = {claim: value for claim, value in all_claims.items() if value is not None}
        return jwt.encode(kept, self.key, algorithm="EdDSA", headers={"kid": self.identity})


def identity_of(token: str) -> str:
    """Return the identity of a command (`jti`)."""
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])
