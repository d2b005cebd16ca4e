"""Signs commands: JSON Web Tokens with Ed25519 (docs/fleet-device.md)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt

from maskedge.errors import UsageError
from maskedge.modelfile.signature import key_id, load_private_key
from maskedge.support.files import expand_home

_DOWNLOADS = b"maskedge-download-1"
"""Message from which the secret of download addresses is derived."""


class CommandSigner:
    """Signs commands with a private key.

    Args:
        path: The key, from `edge-fleet key create`.

    Attributes:
        key: Id of the key, `kid` of the commands.
        download_secret: Secret of the addresses from which devices download models. Every process
            with the key has the same.

    Raises:
        UsageError: The key cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._private = load_private_key(expand_home(path))
        self.key = key_id(self._private.public_key())
        self.download_secret = hmac.new(self._private.private_bytes_raw(), _DOWNLOADS, hashlib.sha256).digest()

    def sign(
        self,
        device: str,
        command: str,
        kind: str,
        arguments: Mapping[str, Any],
        *,
        sequence: int,
        issued: datetime,
        expires: datetime,
    ) -> str:
        """Return a signed command.

        Args:
            device: Name of the device.
            command: Id of the command.
            kind: Kind of command, such as `reload`.
            arguments: Its arguments, in JSON types.
            sequence: Its number among the commands to the device.
            issued: When it was made.
            expires: When the device no longer takes it.
        """
        claims = {
            "jti": command,
            "aud": device,
            "iat": int(issued.timestamp()),
            "exp": int(expires.timestamp()),
            "seq": sequence,
            "cmd": kind,
            "args": dict(arguments),
        }
        return jwt.encode(claims, self._private, algorithm="EdDSA", headers={"kid": self.key})


def open_signer(path: Path | None) -> CommandSigner:
    """Return the signer of the server.

    Args:
        path: The setting `server.command_key`.

    Raises:
        UsageError: The setting is missing, or the key cannot be read.
    """
    if path is None:
        raise UsageError("commands need a key: run edge-fleet key create FILE, and set [server] command_key.")
    return CommandSigner(path)
