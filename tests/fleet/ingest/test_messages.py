from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from helpers.fleet.device_client import event, iso, statistics
from maskedge_fleet.ingest.messages import MAX_BYTES, Parsed, Parser, RawMessage, Refused, parse_message
from maskedge_fleet.ingest.runner import confirmations, ranges

NOW = datetime(2026, 1, 31, 12, 0, 30, tzinfo=timezone.utc)


def raw(topic: str, payload: Any, **more: Any) -> RawMessage:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return RawMessage(f"maskedge/{topic}", content, len(content), NOW, **more)


def good_event(**more: Any) -> dict[str, Any]:
    return {"id": "1a2b3c4d-7", **event(time_of_day=NOW), **more}


def good_statistics(**more: Any) -> dict[str, Any]:
    return {"id": "1a2b3c4d-8", **statistics(NOW, with_mask=2), **more}


def minute(**more: Any) -> dict[str, Any]:
    return good_statistics(minutes=[{**statistics(NOW)["minutes"][0], **more}])


@pytest.mark.parametrize(
    ("topic", "device", "camera", "kind"),
    [
        ("door/events", "door", "camera", "events"),
        ("door/till/events", "door", "till", "events"),
        ("door/snapshot/events", "door", "snapshot", "events"),
        ("events/events/events", "events", "events", "events"),
        ("Tür 1/Kasse é/events", "Tür 1", "Kasse é", "events"),
    ],
)
def test_the_topic_names_device_and_camera(topic: str, device: str, camera: str, kind: str) -> None:
    parsed = parse_message(raw(topic, good_event()), "maskedge")
    assert isinstance(parsed, Parsed)
    assert (parsed.place.device, parsed.place.camera, parsed.kind) == (device, camera, kind)
    assert parsed.place.prefix == f"maskedge/{topic.removesuffix('/events')}"
    assert parsed.place.device_prefix == f"maskedge/{device}"


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("door/events", b"\xff\xfe", "not UTF-8"),
        ("door/events", b"hello", "not JSON"),
        ("door/events", b"", "not JSON"),
        ("door/events", b"[1]", "not a JSON object"),
        ("door/events", b"[" * 100_000, "not JSON"),
        ("door/events", b'{"a": NaN}', "not JSON"),
        ("door/events", b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        ("door/events", good_event(number=10**400), "a number in it is too large"),
        ("door/events", good_event(numbers=[{"a": -(2**64)}]), "a number in it is too large"),
        ("door/events", b'{"a": 1e999}', "a number in it is too large"),
        ("door/events", good_event(note=json.loads("[" * 51 + "]" * 51)), "more than 50 levels"),
        ("door/events", good_event(note="a\0b"), "NUL"),
        ("door/events", good_event(protocol=2), "protocol"),
        ("door/events", good_event(id=7), "id is not a text"),
        ("door/events", good_event(id=""), "id is empty"),
        ("door/events", good_event(id="x" * 65), "id has more than 64"),
        ("door/events", good_event(event="x" * 65), "event has more than 64"),
        ("door/events", good_event(event=None), "event is not a text"),
        ("door/events", good_event(time="yesterday"), "not a time"),
        ("door/events", good_event(time="2026-01-31T12:00:00"), "no time zone"),
        ("door/events", good_event(time="1970-01-01T00:00:10Z"), "clock"),
        ("door/events", good_event(time="2036-01-01T00:00:00Z"), "clock"),
        ("door/events", good_event(time="0001-01-01T00:00:00+14:00"), "not a time"),
        ("door/events", {"event": "health", "time": iso(NOW)}, "id is missing"),
        (f"{'d' * 201}/events", good_event(), "more than 200"),
        ("a\u0085b/events", good_event(), "cannot be shown"),
        ("/events", good_event(), "empty"),
        ("../events", good_event(), "'.' or '..'"),
        ("door/./events", good_event(), "'.' or '..'"),
        ("door/statistics", minute(minute="2036-01-01T00:00:00Z"), "clock"),
        ("door/statistics", minute(observed_s=-1), "between 0"),
        ("door/statistics", minute(observed_s="1"), "not a number"),
        ("door/statistics", minute(observed_s=True), "not a number"),
        ("door/statistics", minute(people={"with_mask": 1e12}), "between 0"),
        ("door/statistics", minute(observed_s=10**400), "too large"),
        ("door/state", {"model": {"release": 10**400}}, "too large"),
        ("door/answer", {"id": "x", "status": "done", "details": {"x": 10**400}}, "too large"),
        ("door/statistics", minute(people=[1]), "not an object"),
        ("door/statistics", minute(zone="z" * 201), "zone has more than 200"),
        ("door/statistics", minute(direction="sideways"), "direction is not in or out"),
        ("door/statistics", good_statistics(minutes={}), "not a list"),
        ("door/statistics", good_statistics(minutes=[7]), "not an object"),
        ("door/statistics", {"id": "1a2b3c4d-8", "minutes": []}, "time is missing"),
        ("door/availability", b"perhaps", "neither online nor offline"),
        ("door/state", {"version": 7}, "version is not a text"),
        ("door/state", {"model": []}, "model is not an object"),
        ("door/state", {"alerts": ["x"]}, "has no rule"),
        ("door/state", {"source": {"name": 7}}, "name is not a text"),
        ("door/answer", {"id": "x", "status": "maybe"}, "status is not"),
        ("door/answer", {"status": "done"}, "id is missing"),
        ("door/answer", {"id": "x", "status": "progress", "stage": []}, "stage is not a text"),
        ("door/answer", {"id": "x", "status": "done", "sentence": {"a": 1}}, "sentence is not a text"),
        ("door/snapshot/till", b"GIF89a", "no JPEG"),
    ],
)
def test_a_bad_message_is_refused_with_the_reason(topic: str, payload: Any, reason: str) -> None:
    parsed = parse_message(raw(topic, payload), "maskedge")
    assert isinstance(parsed, Refused), parsed
    assert reason in parsed.reason
    assert len(parsed.reason) < 300


def test_a_message_that_is_too_large_is_refused_but_confirmed() -> None:
    content = json.dumps(good_event(note="x" * MAX_BYTES)).encode()
    parsed = parse_message(RawMessage("maskedge/door/till/events", content, len(content), NOW), "maskedge")
    assert isinstance(parsed, Refused)
    assert "262144 are allowed" in parsed.reason
    assert confirmations([parsed]) == [("maskedge/door/till/received", '{"spool": "1a2b3c4d", "ranges": [[7, 7]]}')]


@pytest.mark.parametrize("topic", ["door/alerts/state", "door/alerts/events"])
def test_the_topic_of_an_alert_that_is_named_like_a_message_is_left_out(topic: str) -> None:
    assert parse_message(raw(topic, b"ON"), "maskedge") is None


@pytest.mark.parametrize("topic", ["door/state", "door/availability"])
def test_a_retained_message_that_was_cleared_is_left_out(topic: str) -> None:
    assert parse_message(raw(topic, b""), "maskedge") is None


def test_statistics_without_an_id_have_no_minutes() -> None:
    parsed = parse_message(raw("door/statistics", {"uptime_s": 3}), "maskedge")
    assert isinstance(parsed, Parsed)
    assert (parsed.id, parsed.minutes, parsed.time) == ("", (), NOW)


def test_labels_that_are_not_known_are_counted_together() -> None:
    parsed = parse_message(raw("door/statistics", minute(people={"with_mask": 1, "visor": 2, "scarf": 3}, face_s={})), "maskedge")
    assert isinstance(parsed, Parsed)
    assert parsed.minutes[0].counts == (10.0, 0, 0, 0, 0, 1, 0, 0, 5)
    assert parsed.minutes[0].start == NOW.replace(second=0)


def test_two_installations_that_alternate_are_recognized_and_a_new_one_is_not() -> None:
    def flags(*instances: str, **more: Any) -> list[bool]:
        parser = Parser("maskedge")
        parsed = [parser.parse(raw("door/state", {"instance": instance}, **more)) for instance in instances]
        return [message.is_duplicate for message in parsed if isinstance(message, Parsed)]

    assert flags("a", "b", "b", "c") == [False] * 4
    assert flags("a", "b", "a", "b") == [False, False, True, True]
    assert flags("a", "b", "a", repeated=True) == [False] * 3


def test_numbers_become_ranges() -> None:
    assert ranges([5, 1, 2, 3, 9, 8]) == [[1, 3], [5, 5], [8, 9]]


def test_the_clock_may_be_a_little_ahead() -> None:
    ahead = good_event(time=iso(NOW + timedelta(hours=20)))
    assert isinstance(parse_message(raw("door/events", ahead), "maskedge"), Parsed)


def test_a_backslash_before_the_text_u0000_is_no_nul() -> None:
    assert isinstance(parse_message(raw("door/events", good_event(note="C:\\u0000")), "maskedge"), Parsed)
