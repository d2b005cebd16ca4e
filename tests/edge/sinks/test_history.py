"""The history as an output of a run: what is counted, and what is left out."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from maskedge import Face, Frame, MaskDetector
from maskedge.config import load_config
from maskedge.errors import OutputError, UsageError
from maskedge.events import ALERT, FACE_APPEARED, SOURCE_LOST, Event
from maskedge.history.query import HistoryRequest, read_events, read_history
from maskedge.privacy import without_people
from maskedge.results import FrameResult
from maskedge.runtime.context import RunContext
from maskedge.runtime.frame_processor import FrameProcessor
from maskedge.runtime.state import RunState
from maskedge.sinks.base import SinkContext
from maskedge.sinks.history import HistoryConfig, HistorySink
from maskedge.sources import DemoSource
from maskedge.zones import Zones

NOON = 1_780_000_000 // 86400 * 86400 + 43200.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


def live() -> DemoSource:
    source = DemoSource()
    source.live = True
    return source


def sink(path: Path, camera: str = "door") -> HistorySink:
    opened = HistorySink.open(HistoryConfig(str(path)), SinkContext(live(), camera=camera))
    assert isinstance(opened, HistorySink)
    return opened


def result(second: float, labels: tuple[str, ...], *events: Event, arrival: float | None = None, **more: object) -> FrameResult:
    faces = [Face((10, 10, 20, 20), label, 0.9, label, 0.9, track=7) for label in labels]
    frame = Frame(np.zeros((40, 60, 3), np.uint8), 0, NOON + second, second if arrival is None else arrival, "demo", second)
    return FrameResult(frame, faces, {"total": 1.0}, events=events, **more)  # type: ignore[arg-type]


def rows(path: Path, zone: str = "", line: str = "") -> list[dict[str, object]]:
    found: list[dict[str, object]] = read_history(path, HistoryRequest(NOON, NOON + 3600, "hour", zone=zone, line=line))["rows"]
    return found


def test_faces_count_for_the_time_in_which_they_are_in_view(path: Path) -> None:
    one = sink(path)
    for second in range(11):
        one.write(result(second, ("with_mask", "with_mask", "without_mask") if second < 6 else ()))
    one.close()
    (row,) = rows(path)
    assert row["observed_s"] == 10.0
    assert row["face_s"] == {"with_mask": 10.0, "without_mask": 5.0}
    assert row["share_masked"] == pytest.approx(0.6667)


def test_the_time_of_a_lost_camera_is_not_observed(path: Path) -> None:
    one = sink(path)
    one.write(result(0, ("with_mask",)))
    one.write(result(1, ("with_mask",)))
    one.handle_event(Event(SOURCE_LOST, NOON + 2, "demo", {"error": "the cable is out"}))
    one.write(result(5, ("with_mask",)))
    one.write(result(6, ("with_mask",)))
    one.write(result(600, ("with_mask",)))
    one.close()
    (row,) = rows(path)
    assert row["observed_s"] == 12.0, "and a gap counts for ten seconds at most"
    assert read_events(path, HistoryRequest(NOON, NOON + 3600))["events"][0]["error"] == "the cable is out"


def test_a_clock_that_is_set_back_does_not_change_how_long_a_face_was_in_view(path: Path) -> None:
    one = sink(path)
    one.write(result(100, ("with_mask",), arrival=1.0))
    one.write(result(40, ("with_mask",), arrival=2.0))
    one.write(result(100, ("with_mask",), arrival=3.0))
    one.close()
    (row,) = rows(path)
    assert row["face_s"] == {"with_mask": 2.0}


def test_people_zones_and_lines_are_counted(path: Path) -> None:
    one = sink(path)
    appeared = Event(FACE_APPEARED, NOON, "demo", {"track": 7, "label": "with_mask"})
    one.write(result(0, ("with_mask",)))
    people = {"": {"with_mask": 1}, "till": {"with_mask": 1}}
    one.write(result(2, ("with_mask",), appeared, zones={"till": {"with_mask": 1}, "exit": {"with_mask": 0}}, people=people))
    one.handle_event(Event("line_crossed", NOON, "demo", {"line": "gate", "direction": "in", "label": "with_mask", "id": 7}))
    one.close()
    for zone in ("", "till"):
        (row,) = rows(path, zone)
        assert (row["face_s"], row["people"]) == ({"with_mask": 2.0}, {"with_mask": 1})
    assert rows(path, "exit") == []
    (row,) = rows(path, line="gate")
    assert (row["direction"], row["people"], row["observed_s"]) == ("in", {"with_mask": 1}, 2.0)
    assert read_events(path, HistoryRequest(NOON, NOON + 3600))["events"] == [], "events about single people are counts only"


def test_no_position_and_no_identity_reaches_the_file(path: Path) -> None:
    one = sink(path)
    alert = Event(ALERT, NOON, "demo", {"rule": "no_mask", "tracks": [77123], "zone": "till"})
    appeared = Event(FACE_APPEARED, NOON, "demo", {"track": 77123, "label": "with_mask"})
    for made in (
        result(0, ("with_mask",)),
        result(1, ("with_mask",), appeared, alert),
        without_people(result(2, ("with_mask",), alert)),
    ):
        one.write(made)
    one.close()
    assert [event["rule"] for event in read_events(path, HistoryRequest(NOON, NOON + 3600))["events"]] == ["no_mask"] * 2
    assert rows(path)[0]["face_s"] == {"with_mask": 2.0}
    with sqlite3.connect(path) as base:
        dump = "\n".join(base.iterdump())
    base.close()
    assert "77123" not in dump
    assert "track" not in dump
    assert "box" not in dump


def test_frames_tell_the_new_people_of_each_zone_also_without_positions() -> None:
    source, detector = DemoSource(), MaskDetector()
    state = RunState("demo")
    detector.start_tracking()
    processor = FrameProcessor(source, detector, RunContext(zones=Zones.parse(["all=0,0 1,0 1,1 0,1"])), state)
    results = [without_people(processor.process(frame)) for frame, _ in zip(source.frames(), range(60), strict=False)]
    people = [made.people for made in results if made.people]
    assert people
    assert all(counts[""] == {label: count for label, count in counts["all"].items() if count} for counts in people)
    assert sum(sum(counts[""].values()) for counts in people) == sum(processor.people().values())
    assert results[-1].zones == {
        "all": {label: len([face for face in results[-1].faces if face.label == label]) for label in results[-1].zones["all"]}
    }


def test_cameras_share_the_file_and_the_last_one_tells_that_its_counts_are_lost(path: Path) -> None:
    sinks = [sink(path, camera) for camera in ("door", "hall")]
    assert sinks[0].status() == {"written": 0, "dropped": 0, "state": "ok", "error": None}
    path.unlink()
    path.mkdir()
    for one in sinks:
        one.write(result(0, ()))
        one.write(result(1, ("with_mask",)))
    sinks[0].close()
    with pytest.raises(OutputError, match="cannot be written"):
        sinks[1].close()


def test_it_is_off_until_a_file_is_set_and_leaves_recorded_sources_out(path: Path) -> None:
    assert not HistorySink.is_wanted(load_config(environment={}).config.history)
    context = SinkContext(DemoSource())
    assert HistorySink.open(HistoryConfig(str(path)), context) is None
    assert "--live" in context.warnings[0]
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        HistorySink.check(HistoryConfig(str(tmp_path)))
    with pytest.raises(OutputError, match="mkdir"):
        HistorySink.check(HistoryConfig(str(tmp_path / "none" / "history.sqlite3")))
    for check in (HistorySink.check, HistorySink.validate):
        with pytest.raises(OutputError, match="File name too long"):
            check(HistoryConfig(str(tmp_path / ("a" * 300))))
    with pytest.raises(UsageError, match=r"history\.days"):
        HistoryConfig(days=0.5)
