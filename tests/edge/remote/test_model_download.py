"""Download of a model over real HTTPS on loopback."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.fleet.model_updates import ModelServer
from maskedge.errors import ModelError, SourceError, UsageError
from maskedge.remote.model_download import check_address, download

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModelServer]:
    served = ModelServer(tmp_path)
    served.files["/model"] = CONTENT
    yield served
    served.close()


def fetch(server: ModelServer, path: str = "/model", size: int = len(CONTENT), sha256: str = DIGEST) -> bytes:
    return download(f"{server.address}{path}", size, sha256, ca_file=server.ca_file)


def test_file_arrives_over_https(server: ModelServer) -> None:
    assert fetch(server, "/model?expires=1&signature=secret") == CONTENT


def test_certificate_of_an_unknown_authority_is_refused(server: ModelServer) -> None:
    with pytest.raises(SourceError, match="certificate is not valid") as caught:
        download(f"{server.address}/model?token=secret", len(CONTENT), DIGEST)
    assert "secret" not in str(caught.value)
    assert server.requests == []


def test_size_and_checksum_must_be_those_announced(server: ModelServer) -> None:
    with pytest.raises(ModelError, match="256000 bytes instead of 255999"):
        fetch(server, size=len(CONTENT) - 1)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        fetch(server, sha256="0" * 64)
    server.cut.add("/model")
    with pytest.raises((ModelError, SourceError), match=r"cut off|could not be downloaded"):
        fetch(server)


def test_errors_of_the_server_are_named_without_the_query(server: ModelServer) -> None:
    with pytest.raises(SourceError, match="the server returns 404") as caught:
        fetch(server, "/missing?token=secret")
    assert "secret" not in str(caught.value)


def test_redirects_lead_to_https_only(server: ModelServer, tmp_path: Path) -> None:
    server.redirects["/moved"] = f"{server.address}/model"
    assert fetch(server, "/moved") == CONTENT
    for target in ("http://192.0.2.1/model", "file:///etc/passwd", "ftp://127.0.0.1/model", "https://name:word@127.0.0.1/model"):
        server.redirects["/moved"] = target
        with pytest.raises(ModelError, match=r"over https only|must not contain a password"):
            fetch(server, "/moved")
    server.redirects["/circle"] = f"{server.address}/circle"
    with pytest.raises(SourceError, match="the server returns 302"):
        fetch(server, "/circle")


def test_plain_http_is_for_this_machine_alone(tmp_path: Path) -> None:
    plain = ModelServer(tmp_path, encrypted=False)
    try:
        plain.files["/model"] = CONTENT
        assert download(f"{plain.address}/model", len(CONTENT), DIGEST) == CONTENT
    finally:
        plain.close()
    for address in ("http://example.org/m", "ftp://127.0.0.1/m", "file:///etc/passwd", "https://", "", "https://[::1", "x"):
        with pytest.raises(ModelError):
            check_address(address)
    assert check_address("https://example.org/m?token=secret") == "https://example.org/m"


def test_server_that_is_gone_or_speaks_something_else_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"hello\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(SourceError, match="could not be downloaded"):
            download(f"http://127.0.0.1:{port}/model", 10, DIGEST)
        thread.join()
    with pytest.raises(SourceError, match="Connection refused"):
        download(f"http://127.0.0.1:{port}/model", 10, DIGEST)


def test_certificates_that_cannot_be_read_are_named(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("hello")
    for name in ("missing.pem", "bad.pem"):
        with pytest.raises(UsageError, match=name):
            download(f"{server.address}/model", 1, DIGEST, ca_file=tmp_path / name)
