"""`web.proxy`: a reverse proxy that signs users in is the only other machine that may connect."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess

import pytest

from helpers.ingress import own_address
from helpers.web_run import Run
from maskedge.errors import UsageError
from maskedge.sinks.web.config import WebConfig

Invoke = Callable[..., "CompletedProcess[str]"]
ELSEWHERE = "192.0.2.77"


def get(run: Run, peer: str, host: str = "house.example", path: str = "/api/status") -> tuple[int, http.client.HTTPMessage, str]:
    """Send a request from an address of this machine to the same address."""
    connection = http.client.HTTPConnection(peer, run.address[1], timeout=10, source_address=(peer, 0))
    try:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def proxied() -> Iterator[Run]:
    """A page whose proxy has the address of this machine in its network."""
    with Run(frames=False, picture=True, serve="0.0.0.0:0", proxy=own_address()) as run:
        yield run


def test_the_proxy_may_use_any_host_name_and_show_the_page_in_its_frame(proxied: Run) -> None:
    status, headers, _ = get(proxied, own_address())
    assert status == 200
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    assert 'data-picture="stills"' in get(proxied, own_address(), path="/")[2]
    assert proxied.sink.warnings == ()


def test_browsers_of_this_machine_still_need_a_host_name_of_it(proxied: Run) -> None:
    assert get(proxied, "127.0.0.1", "localhost")[0] == 200
    assert get(proxied, "127.0.0.1", "evil.example")[0] == 421


def test_other_machines_are_refused_on_every_path_before_their_request_is_read() -> None:
    with Run(frames=False, serve="0.0.0.0:0", proxy=ELSEWHERE) as run:
        for path in ("/", "/api/status", "/healthz", "/metrics", "/nothing"):
            status, _, text = get(run, own_address(), own_address(), path)
            assert (status, text) == (403, "Only the proxy that web.proxy names may connect: open the page through it.\n")
        assert get(run, "127.0.0.1", "localhost", "/api/status")[0] == 200
        assert 'maskedge_web_requests_total{code="403"} 5' in get(run, "127.0.0.1", "localhost", "/metrics")[2].replace("5.0", "5")


def test_a_token_is_asked_for_behind_the_proxy_too() -> None:
    with Run(frames=False, serve="0.0.0.0:0", proxy=own_address(), token="abc") as run:  # noqa: S106
        assert get(run, own_address())[0] == 401


def test_without_a_proxy_the_page_is_in_no_frame() -> None:
    with Run(frames=False) as run:
        _, headers, _ = run.get("/api/status")
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_proxy_is_as_good_as_a_token_for_pictures() -> None:
    WebConfig(serve="0.0.0.0:8080", picture=True, proxy=ELSEWHERE)
    WebConfig(serve="0.0.0.0:8080", picture=True, proxy="fd00::2")


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("proxy.example", "is the IP address of a reverse proxy"),
        ("172.30.32.0/23", "is the IP address of a reverse proxy"),
        ("172.30.32.2:80", "is the IP address of a reverse proxy"),
        ("127.0.0.1", "web.hosts"),
        ("::1", "web.hosts"),
        ("::", "web.hosts"),
    ],
)
def test_what_is_no_proxy(proxy: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        WebConfig(proxy=proxy)


def test_a_wrong_value_ends_the_command_with_one_sentence(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEDGE_WEB_PROXY", "homeassistant")
    done = invoke("edge-run", "--source", "demo", "--no-show", "--serve", "127.0.0.1:0")
    assert done.returncode == 2
    assert done.stderr.strip() == ("error: web.proxy is the IP address of a reverse proxy, as in 172.30.32.2; got 'homeassistant'.")
