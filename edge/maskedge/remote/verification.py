"""Verification of signed commands: JSON Web Tokens (JWT) with Ed25519 signatures (docs/fleet-device.md)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskedge.errors import MaskedgeError
from maskedge.modelfile.signature import key_id
from maskedge.support.text import utc

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LARGEST_COMMAND = 16384
"""Maximum size of a command in bytes."""
_MOST_SEQUENCE = 2**53 - 1
_MOST_CLOCK_ERROR = 300.0
"""Seconds by which a command may come from the future before the clock of the device counts as wrong."""
_CLAIMS = ("jti", "aud", "iat", "exp", "seq", "cmd", "args")


class UnverifiedError(MaskedgeError):
    """A message that is not a command of a trusted key to this device. It is not answered."""


class RefusedError(MaskedgeError):
    """A command of a trusted key that is not executed. The message is the answer."""


@dataclass(frozen=True)
class Command:
    """A verified command.

    Attributes:
        identity: Its UUID (`jti`).
        key: Id of the key that signed it.
        sequence: Its number (`seq`). It rises with each command to this device.
        name: Its name (`cmd`).
        arguments: Its arguments (`args`).
        issued: When it was signed, in seconds since the epoch.
        expires: When it expires, in seconds since the epoch.
    """

    identity: str
    key: str
    sequence: int
    name: str
    arguments: Mapping[str, Any]
    issued: float
    expires: float


def read_command(token: bytes, device: str, keys: Sequence[Ed25519PublicKey]) -> Command:
    """Read a command and verify its signature. The time is not checked.

    Args:
        token: The JWT in compact form.
        device: Name of this device in its topics. The command must be addressed to it alone.
        keys: The trusted keys.

    Raises:
        UnverifiedError: The signature is not of a trusted key, the command is for another device,
            or a claim is missing or malformed.
    """
    import jwt

    if len(token) > LARGEST_COMMAND:
        raise UnverifiedError(f"it has more than {LARGEST_COMMAND} bytes")
    known = {key_id(key): key for key in keys}
    try:
        identity = jwt.get_unverified_header(token).get("kid")
        key = known.get(identity) if isinstance(identity, str) else None
        if key is None or not isinstance(identity, str):
            raise UnverifiedError("its key is not trusted")
        # Only this algorithm, so that the header cannot choose another one.
        options: Any = {"require": list(_CLAIMS)} | dict.fromkeys(("verify_aud", "verify_exp", "verify_iat", "verify_nbf"), False)
        claims = jwt.decode(token, key, algorithms=["EdDSA"], options=options)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise UnverifiedError(f"it is not a valid signed command ({str(error)[:80]})") from None
    if claims["aud"] != device:
        raise UnverifiedError("it is for another device")
    for name, valid in (
        ("jti", _is_uuid(claims["jti"])),
        ("iat", _is_number(claims["iat"])),
        ("exp", _is_number(claims["exp"])),
        ("seq", type(claims["seq"]) is int and 1 <= claims["seq"] <= _MOST_SEQUENCE),
        ("cmd", isinstance(claims["cmd"], str) and len(claims["cmd"]) <= 64),
        ("args", isinstance(claims["args"], dict)),
    ):
        if not valid:
            raise UnverifiedError(f"its claim {name} is malformed")
    return Command(*(claims["jti"], identity, claims["seq"], claims["cmd"], claims["args"], claims["iat"], claims["exp"]))


def check_time(command: Command, now: float | None = None) -> None:
    """Refuse a command that has expired, or that the clock of this device cannot judge.

    Args:
        command: The command.
        now: The time in seconds since the epoch; None for that of the clock.

    Raises:
        RefusedError: The command has expired or comes from the future.
    """
    now = time.time() if now is None else now
    if command.issued > now + _MOST_CLOCK_ERROR:
        raise RefusedError(
            f"the command was signed at {utc(command.issued)}, and the clock of this device says {utc(now)}: "
            "set the clock of the device (timedatectl), or that of the server."
        )
    if command.expires <= now:
        raise RefusedError(
            f"the command expired at {utc(command.expires)}, and the clock of this device says {utc(now)}: "
            "send it again; if that time is wrong, set the clock of the device (timedatectl)."
        )


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    # Within the years that a clock can show.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 253_370_764_800
