"""Events: what stands in a line and a row, when a new file begins, and what a full disk does."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskedge import Face, Frame, OutputError, UsageError
from maskedge.events import FACE_APPEARED, LABEL_CHANGED, OUTPUT_LOST, Event
from maskedge.privacy import without_people
from maskedge.results import FrameResult
from maskedge.sinks import base
from maskedge.sinks.events import COLUMNS, LIVE_ROTATE_MB, EventsConfig, EventSink, to_event
from maskedge.sinks.mqtt.spool import Spool

MIDDAY = 1_769_860_800.0  # 2026-01-31T12:00:00Z
FACES = [
    Face((312.04, 96.5, 420.0, 240.0), "with_mask", 0.98123, "without_mask", 0.51, 7),
    Face((1.0, 2.0, 3.0, 4.0), "without_mask", 0.9, "without_mask", 0.9, None),
]
CHANGED = Event(LABEL_CHANGED, MIDDAY, "0", {"track": 7, "label": "with_mask", "before": "without_mask", "box": [1, 2, 3, 4]})


def answer(index: int = 0, faces: list[Face] = FACES, *events: Event, seconds: float = MIDDAY) -> FrameResult:
    frame = Frame(np.zeros((9, 9, 3), np.uint8), index, seconds, 0.0, "0", seconds)
    return FrameResult(frame, faces, {"total": 6.1}, events=events)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_happenings_stand_among_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = EventSink(str(path))
    sink.write(answer(3, FACES, CHANGED))
    sink.handle_event(Event(OUTPUT_LOST, MIDDAY, "0", {"output": "mqtt", "error": "the broker is gone"}))
    happened, frame, lost = lines(path)
    assert happened == CHANGED.to_json()
    assert (frame["frame"], len(frame["faces"])) == (3, 2)
    assert "event" not in frame
    assert (lost["event"], lost["time"]) == ("output_lost", "2026-01-31T12:00:00.000Z")
    sink.close()
    sink.close()


def test_events_of_a_video_file_have_its_time(tmp_path: Path) -> None:
    seen = replace(answer(3, FACES, replace(CHANGED, film_s=1.5)), film_s=1.5)
    for name in ("events.jsonl", "events.csv"):
        sink = EventSink(str(tmp_path / name))
        sink.write(seen)
        sink.write(answer(4))
        sink.close()
    assert [line.get("film_s") for line in lines(tmp_path / "events.jsonl")] == [1.5, 1.5, None]
    with (tmp_path / "events.csv").open(newline="") as file:
        assert [row["film_s"] for row in csv.DictReader(file)] == ["1.5", "1.5", "1.5", "", ""]


def test_statistics_only(tmp_path: Path) -> None:
    for name in ("events.jsonl", "events.csv"):
        sink = EventSink(str(tmp_path / name))
        sink.write(without_people(answer(0, FACES, CHANGED)))
        sink.close()
    happened, frame = lines(tmp_path / "events.jsonl")
    assert not {"box", "track"} & happened.keys()
    assert frame["faces"][0] == {key: value for key, value in FACES[0].to_json().items() if key not in ("box", "track")}
    text = (tmp_path / "events.csv").read_text()
    assert "312" not in text
    assert "box" not in text
    assert ",7," not in text


def test_csv_has_a_row_a_face(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    sink = EventSink(str(path))
    sink.write(answer(3, FACES, CHANGED))
    sink.write(answer(4, []))
    sink.handle_event(Event(FACE_APPEARED, MIDDAY, 'a "quoted", name\n', {"track": 8}))
    sink.handle_event(Event(FACE_APPEARED, MIDDAY, "=HYPERLINK().mp4", {"track": 9}))
    sink.close()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["event"] for row in rows] == ["label_changed", "face", "face", "face_appeared", "face_appeared"]
    assert (rows[0]["track"], rows[0]["label"]) == ("7", "with_mask")
    assert json.loads(rows[0]["details"]) == {"before": "without_mask", "box": [1, 2, 3, 4]}
    assert rows[1] == {
        "event": "face", "time": "2026-01-31T12:00:00.000Z", "source": "0", "frame": "3", "track": "7",
        "label": "with_mask", "score": "0.9812", "raw_label": "without_mask", "raw_score": "0.51", "unsure": "false",
        "x1": "312.0", "y1": "96.5", "x2": "420.0", "y2": "240.0",
        "details": "", "film_s": "", "camera": "camera", "device": "",
    }  # fmt: skip
    assert rows[2]["track"] == ""
    assert rows[3]["source"] == 'a "quoted", name\n'
    assert rows[4]["source"] == "'=HYPERLINK().mp4"


def test_the_csv_of_an_earlier_version_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(",".join(COLUMNS[:-2]) + "\nface,2026-01-31T12:00:00.000Z,0,3,7,with_mask,0.9,with_mask,0.9,false,1,2,3,4,,\n")
    before = path.read_text()
    sink = EventSink(str(path), live=True)
    sink.write(answer(3, FACES))
    sink.close()
    (older,) = tmp_path.glob("events.2*.csv")
    assert older.read_text() == before
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_rotation_by_size_keeps_the_newest(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"events{suffix}"
    config = EventsConfig(rotate_mb=0.005, keep=3)
    (tmp_path / f"events.other{suffix}").write_text("mine")
    sink = EventSink(str(path), config)
    for index in range(200):
        sink.write(answer(index))
    sink.close()
    finished = sorted((other for other in tmp_path.glob("events.2*")), key=lambda other: other.stat().st_mtime_ns)
    assert len(finished) == 3
    assert (tmp_path / f"events.other{suffix}").read_text() == "mine"
    assert all(0 < other.stat().st_size <= 5000 for other in (*finished, path))
    if suffix == ".csv":
        assert all(other.read_text().startswith("event,time,") for other in (*finished, path))
        return
    numbers = [event["frame"] for other in (*finished, path) for event in lines(other)]
    assert numbers == list(range(numbers[0], 200)), "no line is lost between two files"


def test_rotation_by_day(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = EventSink(str(path), EventsConfig(rotate_daily=True, keep=0))
    for day in range(5):
        for hour in (-12.1, 0, 11.9):
            sink.write(answer(day, seconds=MIDDAY + 86400 * day + 3600 * hour))
    sink.close()
    # The first frame is of the day before.
    assert len(list(tmp_path.glob("events.*.jsonl"))) == 5
    assert [event["frame"] for event in lines(path)] == [4, 4]


def test_files_that_rotate_are_appended_to_and_others_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    for config, count in ((EventsConfig(rotate_mb=1), 4), (EventsConfig(), 2)):
        path.unlink(missing_ok=True)
        for _ in range(2):
            sink = EventSink(str(path), config)
            sink.write(answer())
            sink.close()
        text = path.read_text()
        assert (text.count("face,"), text.count("event,")) == (count, 1)


def test_half_a_line_of_a_killed_run_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for rest in ('{"half": ', "x" * 200_000):
        path.write_text('{"frame": 1}\n' + rest)
        sink = EventSink(str(path), EventsConfig(rotate_mb=1))
        sink.write(answer())
        sink.close()
        assert len(lines(path)) == 2
    path.write_text('{"source": "0", "fra')
    EventSink(str(path), EventsConfig(rotate_daily=True)).close()
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [("notes.jsonl", "dear diary"), ("notes.txt", '{"a": 1}\n'), ("table.csv", "a,b\n1,2\n"), ("list.jsonl", "[1]\n")],
)
def test_events_are_not_appended_to_what_holds_none(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UsageError, match="does not contain events"):
        EventSink(str(path), live=True)
    assert path.read_text() == content


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("mount is not installed")
    if done.returncode:
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["events.jsonl", "events.csv"])
def test_full_disk_keeps_whole_lines_and_goes_on(small_disk: Path, name: str) -> None:
    path = small_disk / name
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 480_000)
    sink = EventSink(str(path))
    written = 0
    with pytest.raises(OutputError, match="No space left on device"):
        while True:
            sink.write(answer(written))
            written += 1
    with pytest.raises(OutputError):
        sink.reopen()
        sink.write(answer(written))
    assert written > 10
    ballast.unlink()
    sink.reopen()
    sink.write(answer(written))
    sink.close()
    if name.endswith(".csv"):
        with path.open(newline="") as file:
            frames = [int(row["frame"]) for row in csv.DictReader(file)][::2]
    else:
        frames = [event["frame"] for event in lines(path)]
    assert frames == list(range(written + 1))


def test_full_disk_under_the_spool(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    spool = Spool(small_disk / "spool", 10**9)
    ballast.write_bytes(b"x" * 300_000)
    with pytest.raises(OutputError, match="cannot be written"):
        for number in range(10_000):
            spool.add([{"number": number, "text": "x" * 100}])
    held = len(spool)
    ballast.unlink()
    spool.add([{"number": held}])
    numbers = [json.loads(message.payload)["number"] for message in spool.after(0, 10_000)]
    spool.close()
    assert held > 10
    assert numbers == list(range(held + 1))


def test_devices(tmp_path: Path) -> None:
    sink = EventSink("/dev/null", EventsConfig(rotate_mb=0.001))
    for _ in range(4):
        sink.write(answer())
    sink.close()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = EventSink(str(pipe))
    sink.write(answer())
    assert json.loads(os.read(reader, 100_000))["frame"] == 0
    sink.close()
    os.close(reader)


def test_a_pipe_without_a_reader_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="is a pipe without a reader: start the reader first"):
        EventSink(str(tmp_path / "pipe"))


def test_the_check_of_a_pipe_does_not_end_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_PIPE_SECONDS", 60.0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    base.check_writable(pipe)
    # Without a writer, a read returns the end. With one, there is nothing to read yet.
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(reader)


def test_limits_that_make_no_sense_are_refused() -> None:
    for options in ({"rotate_mb": -1.0}, {"keep": -1}):
        with pytest.raises(UsageError, match=r"from 0(\.001)? to 1000000"):
            EventsConfig(**options)


def test_times_of_events_and_happenings_agree() -> None:
    frame = answer(seconds=MIDDAY + 0.1239)
    assert to_event(frame)["time"] == replace(CHANGED, time=MIDDAY + 0.1239).to_json()["time"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_only_what_happens(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"events{suffix}"
    sink = EventSink(str(path), EventsConfig(frames=False))
    sink.write(answer(0))
    assert path.read_bytes() == b""
    sink.write(answer(1, FACES, CHANGED))
    sink.handle_event(Event(OUTPUT_LOST, MIDDAY, "0", {"output": "mqtt"}))
    sink.close()
    if suffix == ".csv":
        with path.open(newline="") as file:
            assert [row["event"] for row in csv.DictReader(file)] == [LABEL_CHANGED, OUTPUT_LOST]
    else:
        assert [line["event"] for line in lines(path)] == [LABEL_CHANGED, OUTPUT_LOST]


def test_events_of_a_camera_rotate_by_default(tmp_path: Path) -> None:
    assert EventsConfig().limit_mb(live=True) == LIVE_ROTATE_MB
    assert EventsConfig().limit_mb(live=False) == EventsConfig(rotate_mb=0).limit_mb(live=True) == 0
    assert EventsConfig(rotate_mb=7).limit_mb(live=True) == 7
    path = tmp_path / "events.jsonl"
    for live, rotate, count in ((True, None, 2), (True, 0, 2), (False, None, 1)):
        path.unlink(missing_ok=True)
        for _ in range(2):
            sink = EventSink(str(path), EventsConfig(rotate_mb=rotate), live=live)
            sink.write(answer())
            sink.close()
        assert len(lines(path)) == count


def test_file_that_somebody_moves_or_removes(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "events.jsonl"
    sink = EventSink(str(path))
    sink.write(answer(0))
    path.rename(folder / "events.jsonl.1")
    sink.write(answer(1))
    assert [event["frame"] for event in lines(path)] == [1]
    assert [event["frame"] for event in lines(folder / "events.jsonl.1")] == [0]
    shutil.rmtree(folder)
    with pytest.raises(OutputError, match="No such file or directory"):
        sink.write(answer(2))
    folder.mkdir()
    sink.reopen()
    sink.write(answer(2))
    sink.close()
    assert [event["frame"] for event in lines(path)] == [2]


def test_no_number_and_no_letter_breaks_a_line(tmp_path: Path) -> None:
    odd = replace(answer().frame, source=os.fsdecode(b"caf\xe9\n"))
    face = replace(FACES[0], score=float("nan"))
    for name in ("events.jsonl", "events.csv"):
        sink = EventSink(str(tmp_path / name))
        sink.write(FrameResult(odd, [face], {"total": float("inf")}))
        sink.close()
        assert (tmp_path / name).read_text(encoding="utf-8")
    (event,) = lines(tmp_path / "events.jsonl")
    assert (event["source"], event["faces"][0]["score"], event["latency_ms"]["total"]) == (odd.source, None, None)


class SmallDisk(io.RawIOBase):
    """Standard output on a disk with room for some bytes."""

    def __init__(self, room: int) -> None:
        self.room, self.content = room, b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = bytes(data)[: self.room]
        self.room -= len(part)
        self.content += part
        return len(part)


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_line_cut_off_on_standard_output_is_completed(room: int, again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue tries the same frame again, unless it has dropped the frame in the meantime."""
    disk = SmallDisk(room)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(disk)))
    sink = EventSink("-", live=True)
    for _ in range(2):
        with pytest.raises(OutputError, match=r"standard output cannot be written \(No space left"):
            sink.write(answer(0))
        sink.reopen()
    disk.room = 1 << 20
    for index in (0, 1) if again else (1,):
        sink.write(answer(index))
    frames = [json.loads(line)["frame"] for line in disk.content.splitlines()]
    assert frames == ([0, 1] if again or room else [1])
