from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, delete, func, insert, select, text
from sqlalchemy.event import listens_for

from helpers.fleet.device_client import event, iso, statistics
from maskedge_fleet.database.engine import open_engine
from maskedge_fleet.database.migrate import migrate
from maskedge_fleet.database.tables import (
    Alert,
    Base,
    Camera,
    Command,
    Device,
    Event,
    MinuteCounts,
    Reject,
    Series,
    Snapshot,
    StaleHour,
    Statistics,
)
from maskedge_fleet.ingest.messages import Parsed, Parser, RawMessage, Refused
from maskedge_fleet.ingest.writer import DatabaseAwayError, Writer

NOW = datetime.now(timezone.utc).replace(microsecond=0)
JPEG = b"\xff\xd8\xff\xe0picture"


def message(topic: str, payload: Any, **more: Any) -> RawMessage:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return RawMessage(f"maskedge/{topic}", content, len(content), more.pop("received", NOW), **more)


def parse(*raws: RawMessage) -> list[Parsed | Refused]:
    parser = Parser("maskedge")
    return [parsed for raw in raws if (parsed := parser.parse(raw)) is not None]


def write(engine: Engine, *raws: RawMessage) -> None:
    Writer(engine).write(parse(*raws))


def rows(engine: Engine, *columns: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns))]


def count(engine: Engine, table: type[Base]) -> int:
    return int(rows(engine, func.count(*table.__table__.columns[:1]))[0][0])


def spooled(number: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"1a2b3c4d-{number}", **content}


def mixed_messages(messages: int) -> list[RawMessage]:
    """Return statistics and events of a few devices over several minutes."""
    result = []
    for number in range(1, messages + 1):
        moment = NOW - timedelta(seconds=10 * number)
        device = f"door{number % 7}"
        if number % 3:
            result.append(message(f"{device}/events", spooled(number, event(number, time_of_day=moment))))
        else:
            content = spooled(number, statistics(moment, zone=f"zone{number % 2}", with_mask=1, without_mask=2))
            result.append(message(f"{device}/till/statistics", content))
    return result


def assert_all_once(engine: Engine, messages: Sequence[RawMessage]) -> None:
    contents = [json.loads(raw.payload) for raw in messages]
    ids = {content["id"] for content in contents if "event" in content}
    assert {found for (found,) in rows(engine, Event.message_id)} == ids
    minutes = [minute for content in contents for minute in content.get("minutes", ())]
    observed, masked, unmasked = rows(
        engine, func.sum(MinuteCounts.observed_s), func.sum(MinuteCounts.masked), func.sum(MinuteCounts.unmasked)
    )[0]
    assert (observed, masked, unmasked) == (10.0 * len(minutes), len(minutes), 2 * len(minutes))
    assert count(engine, Statistics) == len(minutes)


def test_repeated_and_reordered_messages_count_once(engine: Engine) -> None:
    messages = mixed_messages(120)
    write(engine, *messages)
    assert_all_once(engine, messages)
    write(engine, *messages)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(2 * len(messages)) % len(messages)
        write(engine, *(messages[number] for number in order))
    assert_all_once(engine, messages)
    assert {name for (name,) in rows(engine, Device.name)} == {f"door{number}" for number in range(7)}
    hours = {(series, start.replace(minute=0)) for series, start in rows(engine, MinuteCounts.series_id, MinuteCounts.start)}
    assert set(rows(engine, StaleHour.series_id, StaleHour.start)) == hours


def test_writers_that_work_at_the_same_time_neither_lose_nor_double(engine: Engine) -> None:
    messages = mixed_messages(400)

    def run(seed: int) -> None:
        mine = [messages[number] for number in np.random.default_rng(seed).permutation(len(messages))]
        writer = Writer(engine)
        for start in range(0, len(mine), 50):
            writer.write(parse(*mine[start : start + 50]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert_all_once(engine, messages)
    assert count(engine, Device) == 7
    assert len({*rows(engine, Series.camera_id, Series.zone, Series.line, Series.direction)}) == count(engine, Series)
    assert count(engine, Reject) == 0


def test_the_minutes_of_several_messages_are_added(engine: Engine) -> None:
    start = NOW.replace(second=0) - timedelta(minutes=5)
    for number in range(6):
        write(
            engine, message("door/statistics", spooled(number + 1, statistics(start + timedelta(seconds=10 * number), with_mask=2)))
        )
    assert rows(engine, MinuteCounts.start, MinuteCounts.observed_s, MinuteCounts.masked_s, MinuteCounts.masked) == [
        (start, 60.0, 60.0, 12)
    ]


def test_the_newest_statistics_win_whatever_the_order(engine: Engine) -> None:
    for number, seconds in ((1, 30), (2, 10), (3, 20)):
        content = spooled(number, statistics(NOW - timedelta(seconds=seconds))) | {"uptime_s": seconds}
        write(engine, message("door/statistics", content))
    assert [values["uptime_s"] for (values,) in rows(engine, Camera.statistics)] == [10]
    assert rows(engine, Camera.statistics_time) == [(NOW - timedelta(seconds=10),)]
    # A clock that was ahead and is right again.
    write(engine, message("door/statistics", spooled(4, statistics(NOW + timedelta(hours=5)))))
    write(engine, message("door/statistics", spooled(5, statistics(NOW))))
    assert rows(engine, Camera.statistics_time) == [(NOW,)]


def test_a_device_without_fleet_mode_has_its_newest_statistics(engine: Engine) -> None:
    write(engine, message("door/statistics", {"uptime_s": 3, "health": {"temperature_c": 61.0}}))
    assert rows(engine, Camera.statistics, Camera.seen) == [({"uptime_s": 3, "health": {"temperature_c": 61.0}}, NOW)]
    assert rows(engine, Device.health, Device.seen) == [({"temperature_c": 61.0}, NOW)]
    assert (count(engine, Statistics), count(engine, MinuteCounts)) == (0, 0)


def test_state_and_availability_describe_device_and_cameras(engine: Engine) -> None:
    state = {
        "version": "1.2",
        "instance": "abc",
        "commands": ["reload"],
        "model": {"file": "m.onnx", "sha256": "00", "release": 3},
        "detector_model": {"file": "d.onnx"},
        "source": {"name": "rtsp://cam", "state": "open", "since": iso(NOW)},
        "alerts": [{"rule": "door", "since": iso(NOW)}],
    }
    write(
        engine,
        message("door/till/availability", b"online", retained=True),
        message("door/gate/availability", b"offline", retained=True),
        message("door/till/state", state, retained=True),
        message("pi/availability", b"online"),
    )
    cameras = rows(engine, Camera.prefix, Camera.name, Camera.online, Camera.state, Camera.source)
    assert sorted(cameras) == [
        ("maskedge/door/gate", "gate", False, "", ""),
        ("maskedge/door/till", "till", True, "open", "rtsp://cam"),
        ("maskedge/pi", "camera", True, "", ""),
    ]
    assert sorted(rows(engine, Device.name, Device.online, Device.version, Device.instance, Device.commands, Device.seen)) == [
        ("door", True, "1.2", "abc", ["reload"], None),
        ("pi", True, "", "", [], None),
    ]
    assert (state["model"], state["detector_model"]) in rows(engine, Device.model, Device.detector)
    write(engine, message("door/till/availability", b"offline"))
    assert sorted(rows(engine, Device.name, Device.online)) == [("door", False), ("pi", True)]
    # A device with named cameras has an availability of its own. It is no camera.
    write(engine, message("door/availability", b"online"))
    assert count(engine, Camera) == 3


def test_two_devices_of_one_name_are_marked(engine: Engine) -> None:
    states = [message("door/state", {"instance": instance}) for instance in ("a", "b")]
    write(engine, *states)
    assert rows(engine, Device.duplicate_seen) == [(None,)]
    write(engine, *states, *states)
    assert rows(engine, Device.duplicate_seen) == [(NOW,)]


def test_the_difference_of_the_clocks_is_stored(engine: Engine) -> None:
    moment = NOW - timedelta(hours=3)
    content = [spooled(number, event(number, time_of_day=moment)) for number in (1, 2)]
    waited, direct = NOW.timestamp() - 3 * 3600 - 40, NOW.timestamp() - 3 * 3600
    write(engine, message("door/events", content[0], sent=waited), message("door/events", content[1], sent=direct))
    assert rows(engine, Device.clock_offset_s) == [(3 * 3600.0,)]


def test_a_clock_that_is_wrong_is_seen_although_its_messages_are_refused(engine: Engine) -> None:
    write(engine, message("door/availability", b"online"))
    booted = datetime(1970, 1, 1, 0, 2, tzinfo=timezone.utc)
    write(engine, message("door/events", spooled(1, event(time_of_day=booted)), sent=120.0))
    assert rows(engine, Device.clock_offset_s) == [(NOW.timestamp() - 120.0,)]
    assert count(engine, Reject) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 0, 1, 1, 2, 2)])
def test_an_alert_has_its_end_whatever_the_order(engine: Engine, order: tuple[int, ...]) -> None:
    began, ended = NOW - timedelta(minutes=9), NOW - timedelta(minutes=8)
    messages = [
        message("door/events", spooled(1, event(kind="alert", time_of_day=began, rule="door", when="no_mask", zone="till"))),
        message("door/events", spooled(2, event(kind="alert_ended", time_of_day=ended, rule="door", lasted_s=60.0))),
        message("door/events", spooled(3, event(kind="alert", time_of_day=NOW, rule="door", when="no_mask"))),
    ]
    for number in order:
        write(engine, messages[number])
    assert sorted(rows(engine, Alert.since, Alert.ended)) == [(began, ended), (NOW, None)]
    assert ("door: no_mask in till",) in rows(engine, Alert.sentence)


def test_an_alert_that_the_device_no_longer_has_ends(engine: Engine) -> None:
    began = NOW - timedelta(minutes=9)
    write(engine, message("door/events", spooled(1, event(kind="alert", time_of_day=began, rule="door"))))
    write(engine, message("door/state", {"alerts": [{"rule": "door", "since": iso(began)}]}))
    assert rows(engine, Alert.ended) == [(None,)]
    write(engine, message("door/state", {"alerts": []}))
    assert rows(engine, Alert.ended) == [(NOW,)]
    # Its end was in the spool, and arrives later.
    ended = NOW - timedelta(minutes=4)
    write(engine, message("door/events", spooled(2, event(kind="alert_ended", time_of_day=ended, rule="door"))))
    assert rows(engine, Alert.ended) == [(ended,)]


def add_command(engine: Engine, number: str) -> None:
    write(engine, message("door/availability", b"online"))
    with engine.begin() as connection:
        device = connection.scalar(select(Device.id))
        values = {"kind": "reload", "sequence": 1, "token": "t", "created": NOW, "expires": NOW, "due": NOW, "state": "sent"}
        connection.execute(insert(Command).values(id=number, device_id=device, **values))


def test_answers_change_their_command_and_never_back(engine: Engine) -> None:
    add_command(engine, "c1")

    def answer(status: str, seconds: int, device: str = "door") -> None:
        content = {"id": "c1", "command": "reload", "status": status, "time": iso(NOW + timedelta(seconds=seconds))}
        write(engine, message(f"{device}/answer", content))

    answer("progress", 1)
    assert rows(engine, Command.state) == [("progress",)]
    answer("done", 3)
    answer("progress", 2)
    assert rows(engine, Command.state, Command.answered) == [("done", NOW)]
    answer("failed", 9)
    assert rows(engine, Command.state) == [("failed",)]
    answer("done", 3)
    assert rows(engine, Command.state) == [("failed",)]
    assert count(engine, Reject) == 0
    answer("done", 10, device="other")
    assert rows(engine, Command.state) == [("failed",)]
    assert rows(engine, Reject.reason) == [("it answers a command that this device was not sent",)]


def test_a_snapshot_replaces_the_one_of_its_camera(engine: Engine) -> None:
    write(engine, message("door/state", {}), message("shop/till/state", {}))
    write(engine, message("door/snapshot/camera", JPEG), message("shop/snapshot/till", JPEG), message("no/snapshot/till", JPEG))
    write(engine, message("shop/snapshot/till", JPEG + b"2"))
    assert sorted(content for (content,) in rows(engine, Snapshot.content)) == [JPEG, JPEG + b"2"]
    assert rows(engine, Reject.topic, Reject.reason) == [("maskedge/no/snapshot/till", "it is a picture of an unknown camera")]


def test_a_device_that_was_removed_comes_back_with_its_next_message(engine: Engine) -> None:
    writer = Writer(engine)
    writer.write(parse(message("door/statistics", spooled(1, statistics(NOW)))))
    with engine.begin() as connection:
        connection.execute(delete(Device))
    assert count(engine, Event) == count(engine, Series) == 0
    writer.write(parse(message("door/statistics", spooled(2, statistics(NOW))), message("door/events", spooled(3, event()))))
    assert (count(engine, Device), count(engine, Event), count(engine, MinuteCounts)) == (1, 1, 1)


@pytest.mark.parametrize("topic", ["door/state", "door/availability"])
def test_a_device_that_was_removed_comes_back_with_its_state(engine: Engine, topic: str) -> None:
    payload: Any = b"online" if topic.endswith("availability") else {"version": "1"}
    writer = Writer(engine)
    writer.write(parse(message("door/availability", b"online"), message("door/state", {"version": "1"})))
    with engine.begin() as connection:
        connection.execute(delete(Device))
    writer.write(parse(message(topic, payload)))
    online = topic.endswith("availability")
    assert rows(engine, Device.name, Device.online, Device.version) == [("door", online, "" if online else "1")]


def test_the_messages_of_a_removed_device_never_become_those_of_another_one(engine: Engine) -> None:
    # SQLite gives the number of a removed device to the next one.
    writer = Writer(engine)
    writer.write(parse(message("door/events", spooled(1, event()))))
    with engine.begin() as connection:
        connection.execute(delete(Device))
    writer.write(parse(message("hall/events", spooled(2, event()))))
    writer.write(parse(message("door/events", spooled(3, event())), message("door/statistics", spooled(4, statistics(NOW)))))
    query = (
        select(Device.name, Event.message_id).join(Camera, Camera.device_id == Device.id).join(Event, Event.camera_id == Camera.id)
    )
    with engine.connect() as connection:
        found = sorted(tuple(row) for row in connection.execute(query))
    assert found == [("door", "1a2b3c4d-3"), ("hall", "1a2b3c4d-2")]
    assert {seen for (seen,) in rows(engine, Device.seen)} == {NOW}


def test_devices_without_a_state_are_reported_once(engine: Engine) -> None:
    writer = Writer(engine)
    state = {"version": "1"}
    writer.write(parse(message("hall/state", state, retained=True), message("hall/events", spooled(1, event()))))
    writer.write(parse(message("gate/state", state), message("gate/availability", b"online")))
    assert not writer.take_without_state()
    # Removed while it was connected, when its state changes.
    writer.write(parse(message("door/events", spooled(2, event())), message("yard/state", state)))
    assert [writer.take_without_state() for _ in range(2)] == [{"door", "yard"}, set()]


def test_a_message_that_the_database_refuses_does_not_hold_up_its_batch(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite stores numbers of any size")
    minute = statistics(NOW)["minutes"][0] | {"people": {"scarf": 1_000_000, "visor": 1_000_000, "cap": 1_000_000}}
    poison = message("door/statistics", spooled(77, {"time": iso(NOW), "minutes": [minute] * 800}))
    messages = mixed_messages(99)
    write(engine, *messages[:40], poison, *messages[40:])
    assert_all_once(engine, messages)
    ((topic, reason, payload),) = rows(engine, Reject.topic, Reject.reason, Reject.payload)
    assert (topic, payload) == (poison.topic, poison.payload[:2000])
    assert "integer out of range" in reason


def test_bytes_of_a_file_name_are_stored_as_question_marks(engine: Engine) -> None:
    write(engine, message("door/events", spooled(1, event(note="caf\udce9.jpg"))))
    assert [details["note"] for (details,) in rows(engine, Event.details)] == ["caf?.jpg"]


def test_such_bytes_lose_neither_an_alert_nor_an_answer(engine: Engine) -> None:
    write(engine, message("door/events", spooled(1, event(kind="alert", rule="r", zone="caf\udce9"))))
    assert [(sentence, details["zone"]) for sentence, details in rows(engine, Alert.sentence, Alert.details)] == [
        ("r in caf?", "caf?")
    ]
    ((device,),) = rows(engine, Device.id)
    values = {"kind": "reload", "arguments": {}, "sequence": 1, "token": "x", "created": NOW, "created_by": "x", "expires": NOW}
    with engine.begin() as connection:
        connection.execute(insert(Command).values(id="c", device_id=device, state="sent", due=NOW, answer={}, **values))
    write(engine, message("door/answer", {"id": "c", "status": "done", "details": {"file": "caf\udce9"}}))
    assert [(state, answer["details"]) for state, answer in rows(engine, Command.state, Command.answer)] == [
        ("done", {"file": "caf?"})
    ]


def test_a_flood_of_bad_messages_is_limited(engine: Engine) -> None:
    write(engine, *(message("door/events", b"no") for _ in range(500)), message("shop/events", b"no"))
    assert sorted(topic for (topic,) in rows(engine, Reject.topic)) == [
        *["maskedge/door/events"] * 60,
        "maskedge/shop/events",
    ]


def test_a_missing_table_is_no_fault_of_a_message(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE event"))
    with pytest.raises(DatabaseAwayError, match="event"):
        write(engine, message("door/events", spooled(1, event())))
    assert count(engine, Reject) == 0


def test_messages_of_any_depth_are_stored_or_refused(engine: Engine) -> None:
    depths = [*range(5, 45, 5), *range(100, 1100, 50), *range(900, 1000, 7), 5000, 60_000]
    messages = []
    for number, depth in enumerate(depths, 1):
        content = json.dumps(spooled(number, event(note="deep"))).replace('"deep"', "[" * depth + "]" * depth)
        messages.append(message(f"door{number}/events", content.encode()))
    write(engine, *messages)
    assert count(engine, Event) >= 5
    assert count(engine, Event) + count(engine, Reject) == len(depths)


def test_a_full_disk_holds_messages_up_and_loses_none(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/fleet.sqlite3")
    migrate(engine)
    limit = [0]

    @listens_for(engine, "begin")
    def _limit(connection: Connection) -> None:
        if limit[0]:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {limit[0]}")

    with engine.connect() as connection:
        limit[0] = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one()) + 2
    messages = mixed_messages(300)
    with pytest.raises(DatabaseAwayError, match="full"):
        write(engine, *messages)
    limit[0] = 1_000_000
    write(engine, *messages)
    assert_all_once(engine, messages)
    assert count(engine, Reject) == 0
    engine.dispose()
