"""The session of the page, host names, limits and sizes, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from helpers.brokers import make_certificates
from helpers.fleet.data import create_tokens
from helpers.fleet.server import FleetServer
from maskedge.support.network.tls import client_tls
from maskedge_fleet.api.app import create_app
from maskedge_fleet.api.core.access import COOKIE, GUARD_HEADER
from maskedge_fleet.api.core.connections import Connection
from maskedge_fleet.database.engine import open_engine

from .conftest import sqlite_url

OWN = {GUARD_HEADER: "page"}


@pytest.fixture
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., FleetServer]]:
    """Return a function that starts a server with settings of the section `[server]`."""
    engine = open_engine(sqlite_url(request, tmp_path))
    tokens = create_tokens(engine)
    servers: list[FleetServer] = []

    def start(**settings: Any) -> FleetServer:
        server = FleetServer(engine, tokens, **settings)
        servers.append(server.__enter__())
        return server

    yield start
    for server in servers:
        server.__exit__(None, None, None)
    engine.dispose()


def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use(serve: Callable[..., FleetServer]) -> None:
    server = serve()
    client = server.client
    assert client.get("/api/v1/summary").status_code == 401
    answer = client.post("/api/v1/session", json={"token": server.tokens["operator"]}, headers=OWN)
    assert answer.json() == {"name": "operator", "role": "operator"}
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert client.get("/api/v1/summary").status_code == 200
    assert client.get("/api/v1/session").json()["name"] == "operator"
    assert client.get("/api/v1/tokens").status_code == 403
    assert client.delete("/api/v1/session", headers=OWN).status_code == 204
    assert COOKIE not in client.cookies
    assert client.get("/api/v1/summary").status_code == 401


def test_https_is_served_with_a_certificate_and_the_cookie_is_secure(serve: Callable[..., FleetServer], tmp_path: Path) -> None:
    files = make_certificates(tmp_path / "tls")
    server = serve(cert=files["cert"], key=files["key"])
    url = server.url.replace("https://127.0.0.1:", "https://localhost:")
    context = client_tls(files["ca"])
    with httpx.Client(base_url=url, verify=context, trust_env=False) as client:
        answer = client.post("/api/v1/session", json={"token": server.tokens["admin"]}, headers={"Origin": url, **OWN})
        assert "Secure" in answer.headers["set-cookie"]
        assert client.get("/api/v1/summary").status_code == 200


def test_a_wrong_token_signs_nobody_in(serve: Callable[..., FleetServer]) -> None:
    client = serve().client
    answer = client.post("/api/v1/session", json={"token": "mef_" + "A" * 43}, headers=OWN)
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert client.post("/api/v1/session", json={"token": 5}, headers=OWN).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example", **OWN},
        {"Origin": "null", **OWN},
        {"Origin": "http://[", **OWN},
        {"Origin": "http://localhost:1", **OWN},
    ],
)
def test_another_site_cannot_use_the_cookie(serve: Callable[..., FleetServer], headers: dict[str, str]) -> None:
    server = serve()
    client = server.client
    assert client.post("/api/v1/session", json={"token": server.tokens["operator"]}, headers=headers).status_code == 403
    client.cookies.set(COOKIE, server.tokens["operator"])
    assert client.post("/api/v1/sites", json={"name": "Shop"}, headers=headers).status_code == 403
    assert client.delete("/api/v1/session", headers=headers).status_code == 403
    assert client.get("/api/v1/sites").json()["items"] == []
    own = {"Origin": server.url, **OWN}
    assert client.post("/api/v1/sites", json={"name": "Shop"}, headers=own).status_code == 201


def test_the_page_works_behind_a_proxy_that_changes_the_host(serve: Callable[..., FleetServer]) -> None:
    server = serve(public_url="https://fleet.example.org")
    headers = {"Origin": "https://fleet.example.org", "Host": "127.0.0.1:80", **OWN}
    assert server.client.post("/api/v1/session", json={"token": server.tokens["admin"]}, headers=headers).status_code == 200


def test_a_form_of_another_site_changes_nothing(serve: Callable[..., FleetServer]) -> None:
    server = serve()
    # A form can send JSON as text, but no other header.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
        cookie = {"Cookie": f"{COOKIE}={server.tokens['admin']}", "Content-Type": kind}
        answer = server.client.post("/api/v1/sites", content=b'{"name": "Shop"}', headers=cookie)
        assert answer.status_code in (400, 403)
    assert server.client.get("/api/v1/sites", headers=server.bearer()).json()["items"] == []


def test_a_foreign_host_name_is_refused_on_loopback(serve: Callable[..., FleetServer]) -> None:
    server = serve(hosts=("fleet.example.org",))
    for host, status in {
        "evil.example": 421,
        "127.0.0.1.evil.example:80": 421,
        "": 421,
        "localhost": 200,
        "127.0.0.1:9": 200,
        "[::1]:80": 200,
        "Fleet.Example.org": 200,
    }.items():
        for path in ("/healthz", "/api/v1/summary", "/api/v1/openapi.json"):
            answer = server.client.get(path, headers={"Host": host, **server.bearer()})
            assert answer.status_code == status, (host, path)


def test_any_host_name_reaches_a_server_of_the_network(serve: Callable[..., FleetServer]) -> None:
    server = serve(serve="0.0.0.0:0")
    assert server.client.get("/healthz", headers={"Host": "fleet.lan"}).status_code == 200


def test_every_answer_has_the_headers_of_security(serve: Callable[..., FleetServer]) -> None:
    server = serve()
    for path in ("/healthz", "/api/v1/summary", "/nothing", "/api/v1/openapi.json", "/api/v1/counts?format=csv"):
        for headers in ({}, server.bearer(), {"Host": "evil"}):
            answer = server.client.get(path, headers=headers)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers


def test_a_large_body_is_refused_before_it_is_read(serve: Callable[..., FleetServer]) -> None:
    server = serve()
    parts = urlsplit(server.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 10) as client:
        head = f"POST /api/v1/sites HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10 << 20}\r\n\r\n"
        client.sendall(head.encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == 413
        assert b"64 KiB" in answer.read()


def test_a_large_body_without_a_length_is_cut_off(serve: Callable[..., FleetServer]) -> None:
    server = serve()
    try:
        answer = server.client.post("/api/v1/sites", content=(b"x" * 8192 for _ in range(2000)), headers=server.bearer("admin"))
        assert answer.status_code == 413
    except httpx.TransportError:
        pass  # the connection was closed while the body was sent
    assert server.client.get("/healthz").status_code == 200


@pytest.mark.parametrize("length", ["-1", "1e9", "9" * 400, "0x10"])
def test_a_strange_length_is_refused(serve: Callable[..., FleetServer], length: str) -> None:
    server = serve()
    parts = urlsplit(server.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 10) as client:
        client.sendall(f"POST /api/v1/sites HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        assert client.recv(64).split(b" ")[1] in (b"400", b"413")


def test_a_token_and_an_address_have_limits(serve: Callable[..., FleetServer]) -> None:
    server = serve(token_limit="5/minute")  # noqa: S106
    codes = [server.client.get("/api/v1/session", headers=server.bearer()).status_code for _ in range(7)]
    assert codes == [200] * 5 + [429] * 2
    refused = server.client.get("/api/v1/session", headers=server.bearer())
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    assert server.client.get("/api/v1/session", headers=server.bearer("admin")).status_code == 200
    few = serve(address_limit="5/minute")
    assert [few.client.get("/nothing").status_code for _ in range(7)] == [404] * 5 + [429] * 2
    assert few.client.get("/api/v1/session", headers=few.bearer()).status_code == 429
    assert few.client.get("/healthz").status_code == 200


def test_refused_tokens_have_a_limit_that_does_not_lock_others_out(serve: Callable[..., FleetServer]) -> None:
    server = serve(login_limit="3/minute")
    wrong = {"Authorization": "Bearer mef_" + "A" * 43}
    assert [server.client.get("/api/v1/session", headers=wrong).status_code for _ in range(5)] == [401] * 3 + [429] * 2
    sign_in = server.client.post("/api/v1/session", json={"token": "mef_" + "B" * 43}, headers=OWN)
    assert sign_in.status_code == 429
    assert server.client.get("/api/v1/session", headers=server.bearer()).status_code == 200


def test_the_address_of_a_client_behind_a_trusted_proxy_counts(serve: Callable[..., FleetServer]) -> None:
    server = serve(address_limit="3/minute", trusted_proxies=("127.0.0.1",))
    for number in range(5):
        answer = server.client.get("/nothing", headers={"X-Forwarded-For": f"10.0.0.{number}"})
        assert answer.status_code == 404
    untrusted = serve(address_limit="3/minute")
    codes = [untrusted.client.get("/nothing", headers={"X-Forwarded-For": f"10.0.0.{number}"}).status_code for number in range(5)]
    assert codes == [404] * 3 + [429] * 2


def test_metrics_need_a_token_unless_they_are_read_on_this_machine(serve: Callable[..., FleetServer]) -> None:
    server = serve()
    assert server.client.get("/metrics").status_code == 200
    assert server.client.get("/metrics", headers={"X-Forwarded-For": "10.0.0.9"}).status_code == 401
    headers = {"X-Forwarded-For": "10.0.0.9", **server.bearer()}
    answer = server.client.get("/metrics", headers=headers)
    assert "maskedge_fleet_database_up 1.0" in answer.text


def test_a_client_that_sends_nothing_blocks_nobody(serve: Callable[..., FleetServer]) -> None:
    server = serve()
    parts = urlsplit(server.url)
    idle = [socket.create_connection((str(parts.hostname), int(parts.port or 0)), 10) for _ in range(40)]
    for one in idle:
        one.sendall(b"POST /api/v1/sites HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    start = time.monotonic()
    assert server.client.get("/healthz").status_code == 200
    assert time.monotonic() - start < 10
    for one in idle:
        one.close()


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-",
        b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nX-Requested-With: page\r\nContent-Length: 9\r\n\r\n{",
    ],
)
def test_clients_that_send_nothing_more_give_way_to_others(
    serve: Callable[..., FleetServer], monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    monkeypatch.setattr("maskedge_fleet.api.core.connections.MOST_WAITING", 2)
    monkeypatch.setattr("maskedge_fleet.api.core.server._MOST_CONNECTIONS", 4)
    server = serve()
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            client = stack.enter_context(socket.create_connection((urlsplit(server.url).hostname, urlsplit(server.url).port)))
            client.sendall(part)
        assert server.client.get("/healthz").status_code == 200


def test_a_client_that_reads_slowly_does_not_give_way_to_one_that_waits_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge_fleet.api.core.connections.MOST_WAITING", 2)

    async def connect() -> list[bool]:
        config, state = uvicorn.Config(create_app, log_config=None), ServerState()
        made = [Connection(config, state, {}) for _ in range(3)]
        transports = [Mock(asyncio.Transport) for _ in made]
        for one, transport in zip(made[:2], transports, strict=False):
            one.connection_made(transport)
        made[0].cycle = Mock(response_complete=False, more_body=False)
        made[0].pause_writing()
        made[2].connection_made(transports[2])
        return [transport.abort.called for transport in transports]

    assert asyncio.run(connect()) == [False, True, False]


def test_clients_that_do_not_begin_with_tls_give_way_to_others(
    serve: Callable[..., FleetServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("maskedge_fleet.api.core.connections.MOST_WAITING", 2)
    files = make_certificates(tmp_path / "tls")
    url = urlsplit(serve(cert=files["cert"], key=files["key"]).url)
    with contextlib.ExitStack() as stack:
        # asyncio itself waits for 60 s.
        clients = [stack.enter_context(socket.create_connection((url.hostname, url.port), timeout=30)) for _ in range(4)]
        assert [client.recv(1) for client in clients[:2]] == [b"", b""]
        with httpx.Client(verify=client_tls(files["ca"]), trust_env=False, timeout=20) as other:
            assert other.get(f"https://localhost:{url.port}/healthz").status_code == 200
        assert clients[2].recv(1) == b""


def test_a_stranger_cannot_upload(serve: Callable[..., FleetServer]) -> None:
    url = urlsplit(serve().url)
    head = b"POST /api/v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=10) as client:
        client.sendall(head + b"Content-Length: 9000000\r\n\r\n--x\r\n")
        assert client.recv(12)[9:] == b"401"  # before the body was sent
