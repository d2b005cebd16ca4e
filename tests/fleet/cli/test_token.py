"""`edge-fleet token` and `edge-fleet web`."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from helpers.brokers import make_certificates
from helpers.support import command_line, environment

Invoke = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_token_is_printed_once_listed_and_revoked(invoke: Invoke, tmp_path: Path) -> None:
    database = "--database", f"sqlite:///{tmp_path}/fleet.sqlite3"
    created = invoke("edge-fleet", "token", "create", "Ada", "--role", "operator", *database)
    assert re.fullmatch(r"mef_[\w-]{43}\n", created.stdout)
    invoke("edge-fleet", "token", "create", "till", "--days", "2", *database)
    listed = invoke("edge-fleet", "token", "list", *database).stdout
    assert re.search(r"Ada +operator +\S+ \S+ +- +valid", listed)
    assert re.search(r"till +viewer .* until ", listed)
    assert created.stdout.strip() not in listed
    assert invoke("edge-fleet", "token", "revoke", "Ada", *database).returncode == 0
    assert re.search(r"Ada .* revoked 20", invoke("edge-fleet", "token", "list", *database).stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "Ada"), "there is a token with the name 'Ada'"),
        (("create", "a/b"), "contains '/'"),
        (("revoke", "Bob"), "there is no token with the name 'Bob'"),
        (("revoke", "caf\udce9"), "is not UTF-8"),
    ],
)
def test_an_error_is_one_sentence(invoke: Invoke, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    database = "--database", f"sqlite:///{tmp_path}/fleet.sqlite3"
    invoke("edge-fleet", "token", "create", "Ada", *database)
    result = invoke("edge-fleet", "token", *arguments, *database)
    assert (result.returncode, words in result.stderr, result.stderr.count("\n")) == (2, True, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[server]\nserv = '1'\n", "did you mean serve?"),
        ("[servers]\n", "did you mean server?"),
        ("[retention]\nminutes_days = -1\n", "from 1 to 36500"),
        ("[[alert]]\nname = 'a'\nwhen = 'never'\n", "when is one of"),
        ("[[alert]]\nname = 'a'\nwhen = 'share_below'\n", "has no threshold"),
        ("[[alert]]\nname = 'a'\nwhen = 'device_silent'\n[[alert]]\nname = 'a'\nwhen = 'device_silent'\n", "two rules"),
        ("[alert]\n", "alerts are tables"),
        ("[server]\nserve = 'x:y:z/'\n", "is not an address"),
        ("[server]\ntime_zone = 'Mars'\n", "no time zone"),
        ("[server]\nlogin_limit = 'fast'\n", "login_limit"),
        ("[server]\ncert = 'a.pem'\n", "belong together"),
        ("[server]\ncert = 'a.pem'\nkey = 'b.pem'\n", "not a certificate and its key"),
        ("[server]\npublic_url = 'fleet'\n", "public_url"),
        ("[server]\npublic_url = 'https://[fleet'\n", "public_url"),
        ("[server]\npublic_url = 'https://'\n", "public_url"),
        ("[server]\npublic_url = 'https://fleet:port'\n", "public_url"),
        ("[server]\npublic_url = 'https://user:secret@fleet'\n", "without a user name"),
        ("[server]\ntoken_limit = '0/minute'\n", "token_limit"),
        ("[database]\nurl = 'mysql://x'\n", "not supported"),
        ("server = 1\n", "is a section"),
        ("[server\n", "is not TOML"),
    ],
)
def test_a_wrong_setting_is_refused_with_a_sentence(invoke: Invoke, tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "fleet.toml"
    database = "" if "[database]" in content else f"[database]\nurl = 'sqlite:///{tmp_path}/fleet.sqlite3'\n"
    file.write_text(content if content.startswith("server") else f"{content}{database}")
    result = invoke("edge-fleet", "web", "--config", file)
    assert result.returncode == 2, result.stdout
    assert words in result.stderr
    assert "secret" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_token_that_cannot_be_printed_is_not_created(tmp_path: Path) -> None:
    database = "--database", f"sqlite:///{tmp_path}/fleet.sqlite3"
    create = command_line(["edge-fleet", "token", "create", "Ada", *database])
    with Path("/dev/full").open("w") as full:
        failed = subprocess.run(create, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment())
    assert (failed.returncode, failed.stderr.count("\n")) == (5, 1)
    assert subprocess.run(create, capture_output=True, text=True, check=False, env=environment()).stdout.startswith("mef_")


def test_a_certificate_whose_key_has_a_password_is_refused_and_not_asked_for(invoke: Invoke, tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    encrypted = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    (tmp_path / "encrypted.pem").write_bytes(encrypted)
    files = make_certificates(tmp_path)
    database = "--database", f"sqlite:///{tmp_path}/fleet.sqlite3"
    result = invoke("edge-fleet", "web", *database, "--cert", files["cert"], "--key", tmp_path / "encrypted.pem")
    assert (result.returncode, "the key without a password" in result.stderr, result.stderr.count("\n")) == (2, True, 1)


def test_an_address_in_use_is_an_error_of_one_sentence(invoke: Invoke, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        result = invoke("edge-fleet", "web", "--serve", address, "--database", f"sqlite:///{tmp_path}/fleet.sqlite3")
    assert (result.returncode, address in result.stderr, result.stderr.count("\n")) == (5, True, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_web_serves_until_a_signal_and_ends_cleanly(tmp_path: Path, number: int) -> None:
    database = f"sqlite:///{tmp_path}/fleet.sqlite3"
    command = command_line(["edge-fleet", "web", "--serve", "127.0.0.1:0", "--database", database])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    try:
        url = process.stdout.readline().removeprefix("page and API: ").strip()
        with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=3), trust_env=False) as client:
            assert client.get("/healthz").text == "ok\n"
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "edge-fleet token create" in errors
    assert "Traceback" not in errors
    assert not output
