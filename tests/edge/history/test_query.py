"""Queries of the history: what they count, their bounds, and their forms."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from maskedge.errors import UsageError
from maskedge.history.export import to_csv, to_text
from maskedge.history.query import HistoryRequest, parse_request, read_events, read_history
from maskedge.history.records import Count, Series, StoredEvent
from maskedge.history.store import Store

BERLIN = ZoneInfo("Europe/Berlin")
DAY = datetime(2026, 10, 25, tzinfo=BERLIN).timestamp()
"""A day of 25 hours."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two cameras on a day of 25 hours: a face with a mask in every minute, and one without in every fourth."""
    path = tmp_path_factory.mktemp("history") / "history.sqlite3"
    store = Store(path)
    for minute in range(25 * 60):
        for camera in ("door", "hall"):
            counts = [Count(Series(camera), 60.0), Count(Series(camera, label="with_mask"), 60.0, 1)]
            if minute % 4 == 0:
                counts.append(Count(Series(camera, label="without_mask"), 60.0))
            counts.append(Count(Series(camera, "till", label="with_mask"), 30.0))
            store.add(DAY + 60 * minute, counts)
    for direction, people in (("in", 3), ("out", 1)):
        store.add(DAY, [Count(Series("door", "", "gate", direction, "with_mask"), people=people)])
    for number in range(5):
        store.add_event(StoredEvent(DAY + number, "door", "alert", {"rule": f"=rule {number}"}))
    store.close()
    yield path


def ask(path: Path, bucket: str = "day", **more: str) -> dict[str, object]:
    return read_history(path, HistoryRequest(DAY, DAY + 25 * 3600, bucket, **more), BERLIN)


def test_the_buckets_of_a_day_of_25_hours_sum_up_to_its_minutes(path: Path) -> None:
    for bucket, count in (("minute", 1500), ("hour", 25), ("day", 1), ("week", 1), ("month", 1)):
        rows = ask(path, bucket, camera="door")["rows"]
        assert isinstance(rows, list)
        assert len(rows) == count
        assert sum(row["observed_s"] for row in rows) == 25 * 3600
        assert sum(row["face_s"]["with_mask"] for row in rows) == 25 * 3600
        assert sum(row["people"]["with_mask"] for row in rows) == 1500


def test_a_row_tells_the_share_of_time_with_a_mask(path: Path) -> None:
    answer = ask(path)
    assert answer["cameras"] == ["door", "hall"]
    assert answer["labels"] == ["with_mask", "without_mask"]
    assert answer["time_zone"] == "Europe/Berlin"
    assert answer["from"] == "2026-10-25T00:00:00+02:00"
    assert answer["to"] == "2026-10-26T00:00:00+01:00"
    rows = answer["rows"]
    assert isinstance(rows, list)
    assert [row["camera"] for row in rows] == ["door", "hall"]
    assert {row["share_masked"] for row in rows} == {0.8}


@pytest.mark.parametrize(("label", "share"), [("without_mask", 0.0), ("incorrect_mask", 0.0), ("helmet", None)])
def test_the_share_is_0_where_nobody_has_worn_a_mask(tmp_path: Path, label: str, share: float | None) -> None:
    store = Store(tmp_path / "history.sqlite3")
    store.add(DAY, [Count(Series("door"), 60.0), Count(Series("door", label=label), 60.0)])
    store.close()
    (row,) = ask(tmp_path / "history.sqlite3")["rows"]  # type: ignore[misc]
    assert row["share_masked"] == share


def test_zones_and_lines_are_answered_when_asked_for(path: Path) -> None:
    for zone in ("till", "*"):
        rows = ask(path, zone=zone)["rows"]
        assert isinstance(rows, list)
        assert [(row["camera"], row["zone"], row["face_s"]) for row in rows] == [
            (camera, "till", {"with_mask": 25 * 1800.0}) for camera in ("door", "hall")
        ]
        assert rows[0]["observed_s"] == 25 * 3600
    rows = ask(path, line="gate")["rows"]
    assert isinstance(rows, list)
    assert [(row["direction"], row["people"], row["share_masked"]) for row in rows] == [
        ("in", {"with_mask": 3}, 1.0), ("out", {"with_mask": 1}, 1.0),
    ]  # fmt: skip
    assert ask(path, zone="no such zone")["rows"] == []


def test_an_observed_bucket_without_faces_has_zeros_and_an_unobserved_one_has_no_row(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.sqlite3")
    store.add(DAY, [Count(Series("door"), 60.0), Count(Series("door", label="with_mask"), 60.0)])
    store.add(DAY + 7200, [Count(Series("door"), 60.0)])
    store.close()
    rows = ask(tmp_path / "history.sqlite3", "hour")["rows"]
    assert isinstance(rows, list)
    assert [(row["time"], row["face_s"]["with_mask"], row["share_masked"]) for row in rows] == [
        ("2026-10-25T00:00:00+02:00", 60.0, 1.0), ("2026-10-25T02:00:00+02:00", 0.0, None),
    ]  # fmt: skip


def test_events_are_answered_in_order_and_by_camera(path: Path) -> None:
    found = read_events(path, HistoryRequest(DAY, DAY + 4, camera="door"))["events"]
    assert [event["rule"] for event in found] == [f"=rule {number}" for number in range(4)]
    assert read_events(path, HistoryRequest(DAY, DAY + 4, camera="hall"))["events"] == []


def test_csv_has_a_line_for_each_label_and_no_formula(path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(ask(path)))))
    assert [(line["camera"], line["label"], line["face_s"]) for line in lines] == [
        ("door", "with_mask", "90000.0"), ("door", "without_mask", "22500.0"),
        ("hall", "with_mask", "90000.0"), ("hall", "without_mask", "22500.0"),
    ]  # fmt: skip
    events = list(csv.DictReader(io.StringIO(to_csv(read_events(path, HistoryRequest(DAY, DAY + 9))))))
    assert events[0]["details"] == '{"rule": "=rule 0"}'


def test_a_name_runs_neither_in_a_spreadsheet_nor_in_a_terminal(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.sqlite3")
    for name in ("=1+1", "\x1b[2J"):
        store.add(DAY, [Count(Series(name), 60.0), Count(Series(name, label="with_mask"), 60.0)])
    store.close()
    found = ask(tmp_path / "history.sqlite3")
    assert ",'=1+1," in to_csv(found)
    assert r" \x1b[2J " in to_text(found)


def test_the_table_for_a_terminal_has_a_line_for_each_row(path: Path) -> None:
    head, *lines = to_text(ask(path)).splitlines()
    assert head.split() == ["time", "camera", "observed", "with_mask", "without_mask", "people", "masked"]
    assert lines[0].split() == ["2026-10-25", "00:00", "door", "1500.0", "min", "90000", "s", "22500", "s", "1500", "80%"]
    assert to_text(ask(path, camera="nobody")) == "no counts in this range\n"
    assert "gate in" in to_text(ask(path, line="*"))
    # Which rule an alert has, or which output fails, is in the table too.
    assert to_text(read_events(path, HistoryRequest(DAY, DAY + 9))).splitlines()[1].split("  ")[-1] == "rule =rule 0"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"from": "yesterday"}, "from is a time"),
        ({"to": "9" * 400}, "to is a time"),
        ({"from": "nan"}, "from is a time"),
        ({"from": "2026"}, "from is a time"),
        ({"from": "20261341"}, "from is a time"),
        ({"from": "9999-12-31"}, "from is a time"),
        ({"bucket": "fortnight"}, "bucket is one of"),
        ({"cam": "door"}, "not a field"),
    ],
)
def test_a_field_that_is_wrong_is_refused(fields: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_request(fields)


def test_times_are_those_of_the_device_or_have_an_offset() -> None:
    for text in ("2026-10-25", "20261025", "2026-10-25T00:00", "2026-10-24T22:00Z", "2026-10-25T00:00+02:00", str(DAY)):
        assert parse_request({"from": text}, BERLIN).start == DAY
    request = parse_request({}, now=DAY)
    assert (request.start, request.end) == (DAY - 86400, DAY)


def test_ten_years_are_answered_in_months_or_refused_with_the_remedy(path: Path) -> None:
    ten = DAY - 3650 * 86400
    assert read_history(path, HistoryRequest(ten, DAY + 86400), BERLIN)["bucket"] == "week"
    with pytest.raises(UsageError, match=r"over 2000 buckets of a minute: .*\(week\)"):
        read_history(path, HistoryRequest(ten, DAY, "minute"), BERLIN)


def test_an_answer_with_too_many_rows_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge.history.query.MOST_ROWS", 100)
    with pytest.raises(UsageError, match="over 100 rows"):
        ask(path, "minute")


def test_a_query_that_takes_too_long_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge.history.query._TIMEOUT", -1.0)
    with pytest.raises(UsageError, match="shorter range"):
        ask(path, "minute")


@pytest.mark.slow
def test_a_month_of_eight_cameras_is_answered_quickly_and_fits_its_space(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    store = Store(path, flush_seconds=3600)
    labels = ("with_mask", "without_mask", "incorrect_mask")
    cameras = [f"camera {number}" for number in range(8)]
    whole = [Count(Series(camera), 60.0) for camera in cameras]
    series = [(Series(camera, label=label), number) for camera in cameras for number, label in enumerate(labels)]
    varied = [[Count(one, 20.0 * number + more, number) for one, number in series] for more in range(40)]
    for minute in range(30 * 1440):
        store.add(DAY + 60 * minute, [*whole, *varied[minute % 40]])
        if minute % 1440 == 1439:
            store._flush()
    store.close()
    assert path.stat().st_size < 8 * 2e6
    took = []
    for _ in range(5):
        started = time.thread_time()
        assert len(read_history(path, HistoryRequest(DAY, DAY + 30 * 86400, "day"), BERLIN)["rows"]) == 240
        took.append(time.thread_time() - started)
    assert min(took) < 0.2
