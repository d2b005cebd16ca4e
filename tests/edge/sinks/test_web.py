"""The status page's server over a real run: what it serves, to whom, and what it bears."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families

from helpers.streams import until
from helpers.web_run import Run, read_until
from maskedge.errors import OutputError, UsageError
from maskedge.events import Event
from maskedge.sinks.base import RunNames
from maskedge.sinks.web.config import WebConfig, parse_address
from maskedge.sinks.web.http import Response
from maskedge.sinks.web.sink import WebSink


@pytest.fixture(scope="module")
def page() -> Iterator[Run]:
    """A run whose picture is served."""
    with Run(picture=True, max_clients=4, stream_width=320) as run:
        until(lambda: run.frames > 5)
        yield run


def test_status_is_the_state_of_the_run(page: Run) -> None:
    code, headers, content = page.get("/api/status")
    status = json.loads(content)
    assert code == 200
    assert headers["Content-Type"] == "application/json"
    assert status["source"]["state"] == "open"
    assert status["counters"]["processed"] > 0
    assert set(status["faces"]) == {"with_mask", "without_mask", "incorrect_mask"}


def test_every_response_forbids_what_the_page_does_not_need(page: Run) -> None:
    for path in ("/", "/editor.html", "/page.css", "/page.js", "/icon.svg", "/api/status", "/metrics", "/healthz", "/nothing"):
        _, headers, content = page.get(path)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Server"] is None
        assert b"{{" not in content
        assert b"//" not in content.replace(b"http://www.w3.org/2000/svg", b"") or path.endswith(".js")


def test_addresses_of_the_page_are_relative_so_that_a_proxy_may_give_it_a_path(page: Run) -> None:
    files = b"".join(page.get(path)[2] for path in ("/", "/page.js", "/wall.js", "/editor.html", "/editor.js", "/page.css"))
    assert re.findall(rb"""(?:href|src)=["']/[^"']*|url\(/|[`"'](?:/api|/stream)[^`"']*""", files) == []


def test_the_snapshot_is_a_picture_no_wider_than_asked(page: Run) -> None:
    code, headers, content = page.get("/snapshot.jpg")
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert (code, headers["Content-Type"]) == (200, "image/jpeg")
    assert picture is not None
    assert picture.shape == (240, 320, 3)


def test_the_stream_gives_new_pictures(page: Run) -> None:
    with page.open("/stream.mjpg") as client:
        content = b""
        while content.count(b"--frame\r\n") < 4:
            content += client.recv(65536)
    assert b"multipart/x-mixed-replace; boundary=frame" in content
    pictures = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in content.split(b"--frame\r\n")[1:4]]
    assert len(set(pictures)) == 3
    assert all(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3) for picture in pictures)


def test_a_frame_is_encoded_once_for_all_and_only_when_someone_watches() -> None:
    with Run(picture=True, stream_fps=100) as run:
        until(lambda: run.frames > 20)
        assert run.metric("maskedge_web_pictures_encoded_total") == 0
        before = run.frames
        clients = [run.open("/stream.mjpg") for _ in range(6)]
        for client in clients:
            while client.recv(65536).count(b"--frame") == 0:
                pass
        until(lambda: run.frames > before + 20)
        assert 0 < run.metric("maskedge_web_pictures_encoded_total") <= run.frames - before + 1
        for client in clients:
            client.close()
        until(lambda: run.metric('maskedge_web_watchers{feed="picture"}') == 0)


def test_nothing_with_pixels_is_served_unless_asked() -> None:
    with Run() as run:
        until(lambda: run.frames)
        for path in ("/stream.mjpg", "/snapshot.jpg"):
            code, _, content = run.get(path)
            assert code == 403
            assert b"--serve-picture" in content
        assert b'data-picture="no"' in run.get("/")[2]


def test_events_are_faces_and_happenings(page: Run) -> None:
    with page.open("/api/events") as client:
        content = read_until(client, b"event: faces")
        page.sink.handle_event(Event("face_appeared", time.time(), "door", {"track": 9, "label": "with_mask"}))
        content += read_until(client, b"event: happening")
        content += read_until(client, b"\n\n")
    assert b"Content-Type: text/event-stream" in content
    events = [json.loads(line[6:]) for line in content.split(b"\n") if line.startswith(b"data: ") and line.endswith(b"}")]
    assert {"track": 9, "label": "with_mask"}.items() <= next(e for e in events if e.get("event") == "face_appeared").items()
    assert {"source", "frame", "time", "size", "faces", "latency_ms"} <= next(e for e in events if "faces" in e).keys()


def test_a_client_that_reconnects_gets_missed_events() -> None:
    with Run(frames=False) as run:
        for track in range(5):
            run.sink.handle_event(Event("face_left", time.time(), "door", {"track": track}))
        until(lambda: b'kind="face_left"} 5' in run.get("/metrics")[2])
        with run.open("/api/events?after=0&kinds=happening") as client:
            third = read_until(client, b'"track": 4').split(b"id: ")[3].split(b"\n")[0]
        with socket.create_connection(run.address, timeout=10) as client:
            client.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: %s\r\n\r\n" % third)
            content = read_until(client, b'"track": 4')
        assert b'"track": 2' not in content
        assert content.index(b'"track": 3') < content.index(b'"track": 4')
        assert run.get("/api/events?kinds=everything")[0] == 400
        assert run.get("/api/events?after=-1")[0] == 400


def test_a_client_that_reconnects_after_a_restart_gets_every_event() -> None:
    numbers = []
    for _ in range(2):
        with Run(frames=False) as run:
            for track in range(3):
                run.sink.handle_event(Event("face_left", time.time(), "door", {"track": track}))
            until(lambda: b'kind="face_left"} 3' in run.get("/metrics")[2])
            with run.open(f"/api/events?kinds=happening&after={numbers[-1] if numbers else 0}") as client:
                content = read_until(client, b'"track": 2')
            assert content.count(b'"track"') == 3
            numbers += [int(part.split(b"\n")[0]) for part in content.split(b"id: ")[1:]]
    assert numbers == sorted(set(numbers))


def test_the_form_of_a_request_for_proxies_is_accepted(page: Run) -> None:
    for host, code in ((b"localhost", b"200"), (b"evil.example", b"421")):
        with socket.create_connection(page.address, timeout=10) as client:
            client.sendall(b"GET http://%s/api/status HTTP/1.1\r\nHost: localhost\r\n\r\n" % host)
            assert read_until(client, b"\r\n").split()[1] == code


def test_too_many_open_files_are_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    with Run(frames=False) as run:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 30, hard))
        try:
            with contextlib.ExitStack() as connections:
                with contextlib.suppress(OSError):
                    for _ in range(100):
                        connections.enter_context(socket.create_connection(run.address, timeout=5))
                until(lambda: any("accepts no more connections" in line for line in caplog.messages))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert run.get("/healthz")[0] == 503
    assert len(caplog.messages) == 1


def test_healthz_follows_the_camera() -> None:
    with Run(stale_after=0.5) as run:
        until(lambda: run.get("/healthz")[0] == 200)
        run.halt()
        until(lambda: run.get("/healthz")[0] == 503)
        assert b"There was no frame for" in run.get("/healthz")[2]
        run.state.set_source("lost", "the cable is out", 3)
        until(lambda: b"lost" in run.get("/healthz")[2])


def test_metrics_are_read_by_prometheus_own_parser(page: Run) -> None:
    page.sink.handle_event(Event("alert", time.time(), "door", {"rule": "x"}))
    until(lambda: b'kind="alert"' in page.get("/metrics")[2])
    code, headers, content = page.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(content.decode())}
    assert code == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert families["maskedge_frames_processed"].type == "counter"
    assert families["maskedge_faces"].type == "gauge"
    latency = families["maskedge_latency_seconds"]
    assert latency.type == "histogram"
    counts = [s.value for s in latency.samples if s.name.endswith("_bucket") and s.labels["stage"] == "total"]
    assert counts == sorted(counts)
    assert counts[-1] == next(s.value for s in latency.samples if s.name.endswith("_count") and s.labels["stage"] == "total") > 0
    zone = families["maskedge_zone_faces"].samples[0].labels
    assert zone == {"zone": "door", "label": "with_mask"}
    assert sum(sample.value for sample in families["maskedge_source_state"].samples) == 1
    assert "maskedge_rate_limit_frames_per_second" not in families
    page.state.set_rate_limits({"rate_limit_fps": 5.0})
    until(lambda: b"\nmaskedge_rate_limit_frames_per_second 5.0\n" in page.get("/metrics")[2])


def test_metrics_pass_promtool(page: Run) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    done = subprocess.run([promtool, "check", "metrics"], input=page.get("/metrics")[2], capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_what_is_known_is_0_before_anything_happens() -> None:
    names = RunNames({"crowd": ["event"]}, ["door", "hall"])
    with Run(frames=False) as run:
        run.sink._names = lambda: names
        lines = run.get("/metrics")[2].decode().splitlines()
    for line in (
        'maskedge_faces{label="with_mask"} 0.0',
        'maskedge_people{label="without_mask"} 0.0',
        'maskedge_zone_faces{label="incorrect_mask",zone="hall"} 0.0',
        'maskedge_alert_active{rule="crowd"} 0.0',
        'maskedge_happenings_total{kind="source_lost"} 0.0',
        "maskedge_frames_skipped_total 0.0",
        "maskedge_source_reconnects_total 0.0",
        'maskedge_web_requests_total{code="200"} 0.0',
    ):
        assert line in lines
    assert not any("_created" in line or line.startswith(("python_", "process_")) for line in lines)


def test_open_metrics_on_request(page: Run) -> None:
    code, headers, content = page.get("/metrics", Accept="application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3")
    assert code == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert content.endswith(b"# EOF\n")
    families = {family.name: family for family in open_metrics_families(content.decode())}
    assert families["maskedge_frames_processed"].type == "counter"


def test_metrics_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with Run(frames=False) as run:
        code, _, content = run.get("/metrics")
        assert code == 501
        assert b"extra metrics" in content
        assert run.get("/api/status")[0] == 200


def test_labels_are_escaped() -> None:
    with Run(frames=False) as run:
        run.state.add_frame([], {}, (640, 480), zones={'the "back"\\\ndoor': {"with_mask": 2}})
        families = {family.name: family for family in text_string_to_metric_families(run.get("/metrics")[2].decode())}
        assert families["maskedge_zone_faces"].samples[0].labels["zone"] == 'the "back"\\\ndoor'


def test_crossings_of_a_line_are_counted_by_direction_and_label() -> None:
    with Run(frames=False) as run:
        run.state.set_lines({"door": {"in": {"with_mask": 2, "without_mask": 0}, "out": {"with_mask": 1, "without_mask": 3}}})
        families = text_string_to_metric_families(run.get("/metrics")[2].decode())
        family = {family.name: family for family in families}["maskedge_line_crossings"]
        counts = {tuple(sample.labels[key] for key in ("line", "direction", "label")): sample.value for sample in family.samples}
        assert family.type == "counter"
        assert (counts["door", "in", "with_mask"], counts["door", "out", "without_mask"]) == (2, 3)
        assert counts["door", "in", "incorrect_mask"] == 0, "every label has a value from the beginning"
        assert json.loads(run.get("/api/status")[2])["lines"]["door"]["out"] == {"with_mask": 1, "without_mask": 3}


def test_head_gives_the_head_alone(page: Run) -> None:
    for path in ("/", "/metrics", "/stream.mjpg", "/api/events", "/snapshot.jpg"):
        code, headers, content = page.get(path, "HEAD")
        assert (code, content) == (200, b"")
        assert headers["Content-Type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(page: Run, method: str) -> None:
    code, headers, _ = page.get("/api/status", method)
    assert (code, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/assets/page.js", "/page.js/", "//", "/..\\..\\etc", "/\x01", "/page.html"],
)
def test_there_is_no_way_to_other_files(page: Run, path: str) -> None:
    with page.open(path.replace(" ", "")) as client:
        assert client.recv(64).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(1000)) + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789", b"413"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"413"),
        (b"GET /?" + b"&".join(b"a=1" for _ in range(100)) + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"\x16\x03\x01 hello over TLS\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
    ],
)
def test_requests_are_bounded(page: Run, request_: bytes, code: bytes) -> None:
    with socket.create_connection(page.address, timeout=10) as client:
        client.sendall(request_)
        assert read_until(client, b"\r\n").split(b" ")[1] == code


def test_a_silent_client_is_disconnected(page: Run) -> None:
    with socket.create_connection(page.address, timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "held_back",
    [b"", b"GET /sta", b"GET / HTTP/1.1\r\nHost: loc", b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nabc"],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_a_delayed_request_blocks_no_other_client(held_back: bytes) -> None:
    with Run(picture=True) as run:
        until(lambda: run.frames)
        clients = [socket.create_connection(run.address, timeout=20) for _ in range(150)]
        try:
            for client in clients:
                client.sendall(held_back)
            paths = ["/healthz"] * 30 + ["/", "/page.css", "/page.js", "/api/status", "/snapshot.jpg", "/metrics"]
            assert [run.get(path)[0] for path in paths] == [200] * len(paths)
            with run.open("/api/events") as watcher:
                read_until(watcher, b"event: faces")
        finally:
            for client in clients:
                client.close()


def test_a_request_that_comes_byte_by_byte_is_cut_off() -> None:
    with Run(frames=False) as run, socket.create_connection(run.address, timeout=20) as client:
        started = time.monotonic()
        client.settimeout(0.2)
        answer = b""
        for byte in b"GET /" + b"a" * 2000:
            with contextlib.suppress(TimeoutError, OSError):
                client.sendall(bytes([byte]))
                answer = client.recv(100)
                break
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - started < 10


def test_pages_of_others_cannot_come_by_a_name_of_theirs(page: Run) -> None:
    assert page.get("/api/status", Host="evil.example")[0] == 421
    for own in ("localhost:8080", "127.0.0.1", "[::1]:8080", "192.168.1.9:8080"):
        assert page.get("/api/status", Host=own)[0] == 200


def test_a_token_lets_in(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret-\u00fc\nsecond line\n", "utf-8")
    with Run(token_file=file) as run:
        basic = base64.b64encode("anyone:s3cret-ü".encode()).decode()
        assert run.get("/api/status")[0] == 401
        assert run.get("/")[1]["WWW-Authenticate"].startswith("Basic ")
        assert run.get("/api/status", Authorization=f"Basic {basic}")[0] == 200
        assert run.get("/api/status", Authorization="Basic !!!")[0] == 401
        assert run.get("/api/status", Authorization="Bearer wrong")[0] == 401
        until(lambda: run.get("/healthz")[0] == 200)
    # The last letter ends with a byte that is a space in Latin-1.
    latin = Run(frames=False, token="s3cret-\u00e0")  # noqa: S106
    with latin as run, socket.create_connection(run.address, timeout=10) as client:
        client.sendall("GET /api/status HTTP/1.1\r\nAuthorization: Bearer s3cret-\u00e0\r\n\r\n".encode())
        assert client.recv(12)[9:] == b"200"
    with Run(frames=False, token="abc") as run:  # noqa: S106
        assert run.get("/metrics", Authorization="Bearer abc")[0] == 200


def test_clients_with_a_wrong_token_do_not_block_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_MOST_REQUESTS", 1), ("_MOST_DELAYED", 1), ("_WRONG_TOKEN_DELAY", 60.0)):
        monkeypatch.setattr(f"maskedge.sinks.web.server.{name}", value)
    with Run(frames=False, token="abc") as run, socket.create_connection(run.address, timeout=10) as guesser:  # noqa: S106
        guesser.sendall(b"GET / HTTP/1.1\r\nAuthorization: Bearer wrong\r\n\r\n")
        until(lambda: run.sink._site.server._guard._delayed == 1)
        assert run.get("/api/status", Authorization="Bearer abc")[0] == 200
        # The number of clients that wait is limited, too.
        assert run.get("/api/status", Authorization="Bearer wrong")[0] == 401


def test_a_token_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for name, words in (("empty", "contains no token"), ("missing", "cannot be read .*: check web.token_file")):
        with pytest.raises(UsageError, match=words):
            WebSink(WebConfig(serve="127.0.0.1:0", token_file=tmp_path / name), dict)


def test_a_slow_reader_delays_no_other_client() -> None:
    with Run(picture=True, stream_fps=100) as run, run.open("/stream.mjpg") as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.recv(1)
        with run.open("/stream.mjpg") as quick:
            before = run.frames
            until(lambda: quick.recv(65536) and run.frames > before + 50)
            assert run.get("/healthz")[0] == 200
            # What waits for the slow one is bounded: its buffers and one picture, however many were made.
            until(lambda: quick.recv(65536) and run.metric("maskedge_web_slow_clients_total") == 1, 40)


def test_a_large_answer_reaches_a_client_on_a_slow_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge.sinks.web.server._SEND_TIMEOUT", 2.0)
    with Run(frames=False) as run:
        # The kernels of both sides hold some megabytes.
        monkeypatch.setitem(run.sink._routes, "status", lambda request: Response(bytes(16_000_000)))
        with run.open("/api/status") as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            got, started = 0, time.monotonic()
            while part := client.recv(65536):
                got += len(part)
                time.sleep(0.015)
        assert time.monotonic() - started > 2
        assert got > 16_000_000


def test_two_hundred_clients() -> None:
    with Run(picture=True, max_clients=8) as run:
        until(lambda: run.frames > 5)
        clients = [run.open(("/stream.mjpg", "/api/events")[number % 2]) for number in range(200)]
        try:
            codes = []
            for client in clients:
                try:
                    codes.append(client.recv(12)[9:12])
                except OSError:  # Cut off unanswered: too many at once.
                    codes.append(b"")
            assert codes.count(b"200") == 8
            assert b"503" in codes
            assert set(codes) <= {b"200", b"503", b""}
            assert run.get("/healthz")[0] == 200
            before = run.frames
            until(lambda: run.frames > before + 20)
        finally:
            for client in clients:
                client.close()
        until(lambda: run.metric('maskedge_web_watchers{feed="picture"}') == 0)


def test_closing_does_not_wait_for_clients() -> None:
    with Run(picture=True) as run:
        until(lambda: run.frames)
        clients = [run.open(path) for path in ("/stream.mjpg", "/api/events", "/stream.mjpg")]
        with socket.create_connection(run.address) as silent:
            for client in clients:
                read_until(client, b"\r\n\r\n")
            run.halt()
            run.sink.close()
            assert not run.sink._site.thread.is_alive()
            assert silent.recv(10) == b""
        with pytest.raises(OSError, match="refused"):
            run.get("/")
        run.sink.close()
        run.sink.handle_event(Event("health", 0.0, "door"))


def test_a_port_that_is_taken() -> None:
    with Run(frames=False) as run:
        port = run.address[1]
        with pytest.raises(OutputError, match=r"Address already in use.*--serve"):
            WebSink(WebConfig(serve=f"127.0.0.1:{port}"), dict)


def test_an_address_that_is_not_of_this_machine() -> None:
    with pytest.raises(OutputError, match=r"cannot be served on 203\.0\.113\.1"):
        WebSink(WebConfig(serve="203.0.113.1:0"), dict)


@pytest.mark.parametrize("host", ["a..b", "..", "a" * 100])
def test_a_host_name_that_is_not_valid(host: str) -> None:
    with pytest.raises(OutputError, match=r"the status page cannot be served on .* \(the host name is not valid\): choose another"):
        WebSink(WebConfig(serve=f"{host}:80"), dict)


def test_serving_to_a_network_is_a_warning() -> None:
    with Run(frames=False, serve="0.0.0.0:0") as run:
        assert "every client that can reach" in run.sink.warnings[0]
    with Run(frames=False, serve="0.0.0.0:0", token="x") as run:  # noqa: S106
        assert run.sink.warnings == ()
    with pytest.raises(UsageError, match="pictures would be served"):
        WebConfig(serve="0.0.0.0:8080", picture=True)
    WebConfig(serve="0.0.0.0:8080", picture=True, allow_remote=True)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        (":9000", ("127.0.0.1", 9000)),
        ("9000", ("127.0.0.1", 9000)),
        ("localhost", ("localhost", 8080)),
        ("[::1]:81", ("::1", 81)),
        ("::1", ("::1", 8080)),
        ("fe80::a", ("fe80::a", 8080)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["localhost:port", "127.0.0.1:70000", "http://localhost:80", "a b:1", "x:-1", "me@host:1", "a:b:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        WebConfig(serve=text)


@pytest.mark.parametrize("text", ["::1:80", "::1:8080", "::1:99999", "fe80::1:2:80"])
def test_an_ipv6_address_with_a_port_needs_brackets(text: str) -> None:
    with pytest.raises(UsageError, match=r"write an IPv6 address in brackets, as in \[::1\]:8080"):
        WebConfig(serve=text)


@pytest.mark.parametrize("text", ["u:geheim@127.0.0.1:80", "http://u:geheim@[::1", "u:ge/heim@h"])
def test_a_password_in_the_address_of_the_page_is_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="not an address to serve on") as refusal:
        WebConfig(serve=text)
    assert "heim" not in str(refusal.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"stream_fps": 0},
        {"jpeg_quality": 101},
        {"max_clients": 0},
        {"stream_width": 5},
        {"events_per_second": -1},
        {"stale_after": 0},
    ],
)
def test_settings_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"web.{next(iter(settings))}"):
        WebConfig(**settings)  # type: ignore[arg-type]
