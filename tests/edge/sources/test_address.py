"""Addresses of sources that cannot work: refused at once, by a sentence without credentials."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import pytest

from maskedge import SourceError, UsageError, open_source
from maskedge.errors import MaskedgeError
from maskedge.sources import demo


def refusal(uri: str, error: type[MaskedgeError]) -> str:
    start = time.monotonic()
    with pytest.raises(error) as failure:
        open_source(uri)
    assert time.monotonic() - start < 3, "no attempt to connect"
    assert "\n" not in str(failure.value)
    return str(failure.value)


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("rtsp://", "the address rtsp:// has no host: write rtsp://HOST."),
        ("http://", "the address http:// has no host: write http://HOST."),
        ("udp://", "the address udp:// has no host: write udp://HOST:PORT."),
        ("rtsp://me:geheim@/x", "the address rtsp://***@/x has no host"),
        ("rtsp://:554/x", "has no host"),
        ("tcp://127.0.0.1", "the address tcp://127.0.0.1 has no port: write tcp://HOST:PORT."),
        ("rtsp://127.0.0.1:99999/", "the port in the address rtsp://127.0.0.1:99999/ is not a number from 1 to 65535"),
        ("http://me:geheim@127.0.0.1:0/", "the port in the address http://***@127.0.0.1:0/ is not a number from 1 to 65535"),
        ("rtsp://me:geheim", "the host of the address rtsp://me:*** cannot be read"),
        ("rtsp://me:ge heim@[::1", "the host of the address rtsp://***@[::1 cannot be read"),
        ("rtsp://me:geheim%40127.0.0.1:1/x", "the host of the address rtsp://***%40127.0.0.1:1/x cannot be read"),
        ("http://[::g]:80/x", "the host of the address http://[::g]:80/x cannot be read"),
        ("rtsp://::1/x", "an IPv6 address in brackets ([::1])"),
        (
            "rtsp:/me:geheim@127.0.0.1:1/x",
            "rtsp:/***@127.0.0.1:1/x lacks the two slashes of an address: write rtsp:// at its start",
        ),
        ("RTSP:me:ge?heim@127.0.0.1/x", "RTSP:***@127.0.0.1/x lacks the two slashes of an address: write rtsp:// at its start"),
        ("file://me:geheim@server/clip.mp4", "file://***@server/clip.mp4 names the host ***@server"),
    ],
)
def test_an_address_that_cannot_work_is_refused_at_once(uri: str, sentence: str) -> None:
    said = refusal(uri, UsageError)
    assert sentence in said
    assert "heim" not in said


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("me:geheim@127.0.0.1/x", "there is no file or folder ***@127.0.0.1/x: write an address with its scheme, as in rtsp://"),
        ("me:ge*heim@127.0.0.1/x", "no picture matches ***@127.0.0.1/x"),
        ("me:geheim@127.0.0.1/" + "x" * 300, "***@127.0.0.1/"),
        ("http://me:geheim@a..b/", "the stream http://***@a..b/ could not be opened (the host name is not valid)"),
        ("http://127.0.0.1:9/ä", "(the address contains a character that HTTP does not allow): write it percent-encoded"),
        ("http://127.0.0.1:9/a b", "(the address contains a blank or another character that HTTP does not allow)"),
    ],
)
def test_an_address_that_leads_nowhere_is_shown_without_its_password(uri: str, sentence: str) -> None:
    said = refusal(uri, SourceError)
    assert sentence in said
    assert "heim" not in said


@pytest.mark.parametrize("name", ["2026-01-31T12:00:05.png", "a:b@c.png", "rtsp:clip.png"])
def test_a_file_with_a_colon_in_its_name_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(cv2.imencode(".png", demo.draw(0))[1].tobytes())
    source = open_source(name)
    assert [frame.source for frame in source.frames()] == [name]
    source.close()
