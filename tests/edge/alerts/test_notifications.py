"""The action `notify`: a real receiver of Apprise's kind json:// on loopback."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.brokers import wait_for
from helpers.fleet.receiver import HttpReceiver
from helpers.support import free_port
from maskedge import Frame, UsageError
from maskedge.alerts.actions import Actions
from maskedge.alerts.notification import NotifyConfig, describe_event
from maskedge.alerts.registry import rule_class
from maskedge.config import load_config, secrets_of, to_toml
from maskedge.events import ALERT, ALERT_ENDED, OUTPUT_BACK, OUTPUT_LOST, Event
from maskedge.results import FrameResult

pytest.importorskip("apprise", reason="the extra notify is not installed")

DETAILS = {"rule": "no masks", "when": "no_mask_fraction", "zone": "door", "fraction": 0.62, "faces": 214, "window_s": 120.0}
BEGUN = Event(ALERT, 1e9, "0", DETAILS, device="shop", camera="entrance")
ENDED = Event(ALERT_ENDED, 1e9 + 60, "0", {"rule": "no masks", "when": "no_mask_fraction", "lasted_s": 60.0}, device="shop")
RULE = rule_class()(name="no masks", when="no_mask_fraction", threshold=0.5, actions=("notify",))


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    server = HttpReceiver()
    yield server
    server.close()


def open_actions(*urls: str, **options: Any) -> Actions:
    return Actions([RULE], "0", settings={"notify": NotifyConfig(urls=urls, **options)}, waits=(0.05, 0.05, 0.05))


def picture(*, hidden: bool) -> FrameResult:
    grey = np.random.default_rng(1).integers(0, 256, (15, 20), np.uint8)
    image = np.repeat(np.kron(grey, np.ones((8, 8), np.uint8))[..., None], 3, axis=2)
    return FrameResult(Frame(image, 0, 1e9, 0.0, "0", 0.0), [], {}, hidden=[(40, 30, 120, 90)] if hidden else None)


def attached(message: dict[str, Any]) -> Any:
    (attachment,) = message["attachments"]
    assert attachment["filename"] == "alert.jpg"
    return cv2.imdecode(np.frombuffer(base64.b64decode(attachment["base64"]), np.uint8), cv2.IMREAD_COLOR)


def test_the_start_and_the_end_of_an_alert_are_sent_to_every_address(receiver: HttpReceiver, tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text(f"# more\n{receiver.url}/second\n")
    actions = open_actions(receiver.url, urls_file=file)
    actions.perform(RULE, BEGUN, picture(hidden=False))
    wait_for(lambda: len(receiver.messages) == 2, "both messages")
    actions.perform(RULE, ENDED, None)
    wait_for(lambda: len(receiver.messages) == 4, "the end")
    first, last = receiver.messages[0], receiver.messages[-1]
    assert (first["title"], first["type"], first["attachments"]) == ("no masks (shop, entrance)", "warning", [])
    assert first["message"].splitlines() == [
        "Condition: no_mask_fraction",
        "Zone: door",
        "fraction: 0.62",
        "faces: 214",
        "window_s: 120.0",
        "Time: 2001-09-09T01:46:40.000Z",
    ]
    assert (last["title"], last["type"]) == ("Ended: no masks (shop)", "success")
    actions.close()


@pytest.mark.parametrize("hidden", [False, True])
def test_a_picture_is_attached_only_if_the_user_allows_it_and_is_pixelated_if_faces_are_hidden(
    receiver: HttpReceiver, *, hidden: bool
) -> None:
    result = picture(hidden=hidden)
    for snapshot in (False, True):
        actions = open_actions(receiver.url, snapshot=snapshot)
        actions.perform(RULE, BEGUN, result)
        actions.perform(RULE, ENDED, result)
        wait_for(lambda count=2 + 2 * snapshot: len(receiver.messages) == count, "the messages")  # type: ignore[misc]
        actions.close()
    assert [len(message["attachments"]) for message in receiver.messages] == [0, 0, 1, 0]
    sent = attached(receiver.messages[2]).astype(float)
    difference = np.abs(sent - result.frame.image)[30:90, 40:120].mean()
    assert bool(difference > 20) is hidden, difference
    assert np.abs(sent - result.picture).mean() < 5


def test_a_failing_service_is_tried_again_reported_once_and_delays_no_other(receiver: HttpReceiver) -> None:
    other = HttpReceiver()
    other.status = 500
    actions = open_actions(other.url, receiver.url)
    actions.perform(RULE, BEGUN, None)
    wait_for(lambda: other.attempts == 4, "the attempts")
    wait_for(lambda: receiver.messages, "the other message")
    (problem,) = actions.problems()
    assert (problem.kind, problem.details) == (
        OUTPUT_LOST,
        {
            "output": "notification json 1",
            "error": "the notification by json 1 was not accepted: check its address in [notify] and the network.",
        },
    )
    other.status = 200
    actions.perform(RULE, ENDED, None)
    wait_for(lambda: other.messages, "the message")
    wait_for(lambda: [event.kind for event in actions.problems()] == [OUTPUT_BACK], "the report")
    actions.close()
    other.close()


def test_a_picture_that_waits_is_not_sent_after_privacy_became_stricter(receiver: HttpReceiver) -> None:
    receiver.status = 500
    result = picture(hidden=False)
    settings = {"notify": NotifyConfig(urls=(receiver.url,), snapshot=True)}
    actions = Actions([RULE], "0", settings=settings, waits=(0.05,) * 1000)
    actions.perform(RULE, BEGUN, result)
    wait_for(lambda: receiver.attempts > 0, "the first attempt")
    actions.forget_pictures()
    receiver.status = 200
    wait_for(lambda: receiver.messages, "the message")
    actions.perform(RULE, BEGUN, replace(result, frame=replace(result.frame, arrival=time.perf_counter())))
    wait_for(lambda: len(receiver.messages) == 2, "the next message")
    actions.close()
    assert [len(message["attachments"]) for message in receiver.messages] == [0, 1]


def test_a_service_that_does_not_answer_delays_neither_the_loop_nor_the_end(receiver: HttpReceiver) -> None:
    receiver.delay = 3.0
    actions = open_actions(receiver.url, f"json://127.0.0.1:{free_port()}")
    for _ in range(30):
        actions.perform(RULE, BEGUN, None)
    actions.close()
    assert receiver.messages == []


def test_wrong_settings_are_refused_without_the_address() -> None:
    for options, words in (
        ({}, r"alert rule 'no masks' has the action 'notify': set \[notify\] urls or urls_file"),
        ({"urls": ("nothing://geheim",)}, "is not one of Apprise"),
        ({"urls": ("geheim",)}, r"the address 1 of \[notify\] \(address://\.\.\.\)"),
        ({"urls": ("json://",)}, "is not one of Apprise"),
        ({"urls_file": Path("/nonexistent/file")}, "cannot be read .*: check notify.urls_file"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            Actions([RULE], "0", settings={"notify": NotifyConfig(**options)})  # type: ignore[arg-type]
        assert "geheim" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(UsageError, match="install the extra notify"):
        open_actions("json://127.0.0.1:1")


def test_addresses_of_the_configuration_are_secret(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text('[notify]\nurls = ["mailto://user:geheim7@example.org"]\n')
    loaded = load_config(file, {})
    assert "geheim7" not in to_toml(loaded)
    assert "mailto://user:geheim7@example.org" in secrets_of(loaded.config)


def test_lists_and_unknown_details_are_readable() -> None:
    event = Event(ALERT, 1e9, "0", {"rule": "one", "when": "person_without_mask", "tracks": [3, 4], "longest_s": 12.0})
    assert describe_event(event).splitlines()[:3] == ["Condition: person_without_mask", "tracks: 3, 4", "longest_s: 12.0"]
