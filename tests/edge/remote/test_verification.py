"""Verification of signed commands, without a broker."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.fleet.small_server import Signer, identity_of
from maskedge.remote.verification import LARGEST_COMMAND, RefusedError, UnverifiedError, check_time, read_command


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


def read(signer: Signer, token: str | bytes) -> Any:
    return read_command(token.encode() if isinstance(token, str) else token, "door", [signer.key.public_key()])


def test_a_valid_command_is_read(signer: Signer) -> None:
    token = signer.sign("privacy", {"anonymize": True})
    command = read(signer, token)
    assert (command.name, command.arguments, command.sequence) == ("privacy", {"anonymize": True}, 1)
    assert (command.key, command.identity) == (signer.identity, identity_of(token))
    check_time(command)


@pytest.mark.parametrize("claim", ["jti", "aud", "iat", "exp", "seq", "cmd", "args"])
def test_every_claim_is_required(signer: Signer, claim: str) -> None:
    with pytest.raises(UnverifiedError):
        read(signer, signer.sign("reload", **{claim: None}))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("aud", "window"),
        ("aud", ["door"]),
        ("aud", "maskedge/door"),
        ("aud", "Door"),
        ("jti", "1"),
        ("jti", 7),
        ("seq", 0),
        ("seq", -1),
        ("seq", 1.5),
        ("seq", True),
        ("seq", "2"),
        ("seq", 2**53),
        ("seq", 10**4000),
        ("iat", "now"),
        ("iat", True),
        ("iat", -1),
        ("exp", float("inf")),
        ("exp", float("nan")),
        ("exp", 10**30),
        ("cmd", 7),
        ("cmd", "x" * 65),
        ("args", []),
        ("args", "{}"),
    ],
)
def test_a_malformed_claim_is_not_taken(signer: Signer, claim: str, value: object) -> None:
    with pytest.raises(UnverifiedError):
        read(signer, signer.sign("reload", **{claim: value}))


@pytest.mark.parametrize("header", [{}, {"kid": 7}, {"kid": ""}, {"kid": "0" * 16}, {"kid": None}])
def test_a_command_without_the_id_of_a_trusted_key_is_not_taken(signer: Signer, header: dict[str, Any]) -> None:
    # PyJWT itself writes no such header.
    first = base64.urlsafe_b64encode(json.dumps({"alg": "EdDSA", "typ": "JWT", **header}).encode()).rstrip(b"=")
    text = first + b"." + signer.sign("reload").split(".")[1].encode()
    token = text + b"." + base64.urlsafe_b64encode(signer.key.sign(text)).rstrip(b"=")
    with pytest.raises(UnverifiedError):
        read(signer, token)


def test_a_command_of_a_key_that_claims_the_id_of_another_is_not_taken(tmp_path: Path, signer: Signer) -> None:
    stranger = Signer(tmp_path, "stranger")
    stranger.identity = signer.identity
    with pytest.raises(UnverifiedError, match="Signature"):
        read(signer, stranger.sign("reload"))


def test_a_command_that_is_too_long_is_not_even_parsed(signer: Signer) -> None:
    with pytest.raises(UnverifiedError, match=f"more than {LARGEST_COMMAND} bytes"):
        read(signer, signer.sign("reload", {"x": "y" * LARGEST_COMMAND}))


@pytest.mark.parametrize("token", [b"", b".", b"..", b"a.b.c", b"\xff" * 100, b"[" * 16_000, b"e30.e30.", b"bnVsbA.e30.e30"])
def test_a_message_that_is_no_token_is_not_taken(signer: Signer, token: bytes) -> None:
    with pytest.raises(UnverifiedError):
        read(signer, token)


def test_the_time_is_judged_by_the_clock_of_the_device(signer: Signer) -> None:
    now = time.time()
    command = read(signer, signer.sign("reload", iat=now, exp=now + 60))
    check_time(command, now - 299)
    check_time(command, now + 59)
    with pytest.raises(RefusedError, match=r"expired at .* set the clock of the device"):
        check_time(command, now + 60)
    with pytest.raises(RefusedError, match=r"says 1970-01-01T00:00:00\.000Z: set the clock"):
        check_time(command, 0.0)
