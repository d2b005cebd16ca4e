"""Credentials in addresses: masked in whatever form a user or a camera writes them."""

from __future__ import annotations

import time

import pytest

from maskedge.support.addresses.masking import names_a_secret, secrets_in, without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp:/u:geheim@127.0.0.1:1/x", "rtsp:/***@127.0.0.1:1/x"),
        ("rtsp:u:geheim@127.0.0.1/x", "rtsp:***@127.0.0.1/x"),
        ("HTTP:/u:ge heim@127.0.0.1/x", "HTTP:/***@127.0.0.1/x"),
        ("u:geheim@127.0.0.1/x", "***@127.0.0.1/x"),
        ("//u:geheim@127.0.0.1/x", "//***@127.0.0.1/x"),
        ("u:geheim%40127.0.0.1/x", "***%40127.0.0.1/x"),
        ("me@example.org:geheim@127.0.0.1/x", "me@***@127.0.0.1/x"),
        ("rtsp://u:ge heim@[::1", "rtsp://***@[::1"),
        ("rtsp://u:12 34@cam/x", "rtsp://***@cam/x"),
        ("rtsp://u:g@e heim@cam/x", "rtsp://***@cam/x"),
        ("rtsp://u:geheim%40127.0.0.1:1/x", "rtsp://***%40127.0.0.1:1/x"),
        ("500 Error at u:geheim@cam, ask support", "500 Error at ***@cam, ask support"),
        ("see rtsp://u:ge heim@cam and http://cam:80/a@b", "see rtsp://***@cam and http://cam:80/a@b"),
        ("u:geheim@cam/?next=http://other", "***@cam/?next=http://other"),
    ],
)
def test_credentials_are_masked_in_an_address_with_a_slip(address: str, shown: str) -> None:
    assert without_password(address) == shown
    assert without_password(shown) == shown, "what is masked stays as it is"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:05.mp4",
        "/home/me@work/clip.mp4",
        r"C:\clips\me@home\a.mp4",
        "C:/clips/me@home/a.mp4",
        "http://cam:80/x@y",
        "mail me@example.org",
        "[::1]:8080",
        "udp://@:5000",
    ],
)
def test_paths_and_addresses_without_credentials_stay_as_they_are(text: str) -> None:
    assert without_password(text) == text


def test_secrets_of_an_address_with_a_blank_are_known_to_the_log() -> None:
    assert {"u:ge heim", "ge heim"} <= secrets_in("rtsp://u:ge heim@cam/x")
    assert names_a_secret("password")
    assert not names_a_secret("width")


@pytest.mark.parametrize(
    "part", ["a", "a:/", "http:", "http://", ": ", "u:p@", "://a:", "%40", "a%3A%2F%2F", "a%253A%252F%252Fb:c@", "%3Aa"]
)
def test_a_long_text_is_masked_in_no_time(part: str) -> None:
    start = time.thread_time()
    without_password(part * 5000)
    without_password(part * 5000 + "@")
    assert time.thread_time() - start < 5
