from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.streams import until
from helpers.support import command_line, environment
from maskedge import Face, Frame, OutputError
from maskedge.rendering.draw import draw_faces
from maskedge.results import FrameResult
from maskedge.sinks.events import EventSink, to_event
from maskedge.sinks.images import ImageSink
from maskedge.sinks.recording.writer import fit
from maskedge.sinks.save import open_picture_output
from maskedge.sinks.video import VideoSink
from maskedge.sinks.window import display_problem
from maskedge.types import Image

FACE = Face((312.04, 96.5, 420.0, 240.0), "with_mask", 0.98123, "without_mask", 0.51, 7)


def answer(image: Image, index: int = 0, source: str = "0") -> FrameResult:
    return FrameResult(
        Frame(image, index, 1_769_860_800.1234, 0.0, source, 0.0),
        [FACE],
        {"total": 6.123, "detect": 4.2, "classify": 0.6, "track": 0.1},
    )


def test_event_follows_the_contract(tmp_path: Path, frames: list[Image]) -> None:
    sink = EventSink(str(tmp_path / "events.jsonl"))
    sink.write(answer(frames[0], 120))
    # The line is complete before the sink is closed.
    event = json.loads((tmp_path / "events.jsonl").read_text())
    sink.close()
    assert event == {
        "source": "0",
        "camera": "camera",
        "device": "",
        "frame": 120,
        "time": "2026-01-31T12:00:00.123Z",
        "size": [640, 480],
        "faces": [
            {
                "track": 7,
                "box": [312.0, 96.5, 420.0, 240.0],
                "label": "with_mask",
                "score": 0.9812,
                "raw_label": "without_mask",
                "raw_score": 0.51,
                "unsure": False,
            }
        ],
        "latency_ms": {"total": 6.12, "detect": 4.2, "classify": 0.6},
    }
    assert datetime.fromisoformat(event["time"].replace("Z", "+00:00")).year == 2026


def test_an_event_has_the_times_of_the_stages_that_its_frame_has_used(frames: list[Image]) -> None:
    def event_of(**stages: float) -> object:
        return to_event(replace(answer(frames[0]), stages=stages))["latency_ms"]

    assert event_of(total=0.512, track=0.3) == {"total": 0.51}
    used = {"total": 9.0, "detect": 4.2, "classify": 0.6, "detection_age": 7.25}
    assert event_of(**used, resize=1.0) == used


def test_video_can_be_played_again(tmp_path: Path, frames: list[Image]) -> None:
    for suffix in (".mp4", ".avi", ".mkv"):
        path = tmp_path / f"out{suffix}"
        sink = VideoSink(path, 25)
        for index in range(10):
            assert sink.write(answer(frames[index % len(frames)], index))
        # Another size and an odd one do not break the file.
        sink.write(answer(np.zeros((99, 201, 3), np.uint8)))
        sink.close()
        capture = cv2.VideoCapture(str(path))
        count = 0
        while capture.read()[0]:
            count += 1
        assert count == 11
        assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FPS)) == (640, 25)


def test_fit_keeps_proportions() -> None:
    assert fit(np.full((50, 100, 3), 9, np.uint8), (200, 200))[50:150].min() == 9
    assert fit(np.full((50, 100, 3), 9, np.uint8), (200, 200))[:50].max() == 0
    odd = np.full((51, 101, 3), 9, np.uint8)
    assert (fit(odd, (102, 52))[:51, :101] == odd).all()


def test_annotated_pictures(tmp_path: Path, frames: list[Image]) -> None:
    sink = open_picture_output(str(tmp_path), video=False, fps=1, length=3)
    assert isinstance(sink, ImageSink)
    for source in ("a/face.png", "a/face.jpg", "b/face.jpg"):
        sink.write(answer(frames[0], source=source))
    assert len(list(tmp_path.glob("*.jpg"))) == 3
    open_picture_output(str(tmp_path / "one.png"), video=False, fps=1, length=1).write(answer(frames[0]))
    shown = cv2.imread(str(tmp_path / "one.png"))
    assert shown is not None
    assert (shown == draw_faces(frames[0], [FACE])).all()


def test_overlay_changes_a_copy_and_stays_inside(frames: list[Image]) -> None:
    before = frames[0].copy()
    outside = Face((-50.0, -80.0, 700.0, 500.0), "odd label", 0.5, "odd label", 0.5)
    drawn = draw_faces(frames[0], [FACE, outside], "30 frames/s")
    assert (frames[0] == before).all()
    assert (drawn != before).any()
    assert draw_faces(np.zeros((1, 1, 3), np.uint8), [FACE]).shape == (1, 1, 3)


@pytest.mark.parametrize("name", ["missing/out.mp4", "out.doc", "out", "out.jpg"])
def test_unwritable_video_is_refused_before_the_first_frame(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError):
        open_picture_output(str(tmp_path / name), video=True, fps=30, length=10)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_events_are_refused_at_once(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "events.jsonl", Path("/proc/events.jsonl")):
        with pytest.raises(OutputError, match=r"folder|cannot be written"):
            EventSink(str(path))


def test_full_disk_under_events_is_an_error() -> None:
    sink = EventSink("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        sink.write(answer(np.zeros((9, 9, 3), np.uint8)))
    sink.close()


def test_full_disk_under_a_video_is_an_error(tmp_path: Path, frames: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's writer reports no error: the free space is watched. Other containers: `test_recording.py`."""
    sink = VideoSink(tmp_path / "out.avi", 25)
    sink.write(answer(frames[0]))
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match="is full"):
        for index in range(40):
            sink.write(answer(frames[0], index))
    sink.close()
    assert cv2.VideoCapture(str(tmp_path / "out.avi")).read()[0], "what was written can be played"


def test_no_display_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert display_problem() == "no display"
    monkeypatch.setenv("DISPLAY", ":987")
    assert "cannot be opened" in str(display_problem())
    # As opencv-python-headless describes itself, which make try-wheel installs.
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "\n  GUI:                           NONE\n\n  Media I/O:\n")
    assert display_problem() == "this OpenCV was built without windows"


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[str]:
    """A real X server with no screen behind it."""
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed")
    # Without -noreset, the server refuses clients for a moment after its last one has left.
    command = ["Xvfb", "-displayfd", "1", "-noreset", "-screen", "0", "1024x768x24"]
    # Two servers that start at the same time may take the same number. One of them then ends.
    for _ in range(5):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            number = server.stdout.readline().strip()
            if number:
                yield f":{number}"
                server.terminate()
                return
    pytest.fail("Xvfb has ended five times before it opened a display: run it by hand to see why.")


def test_window_opens_on_a_display(screen: str) -> None:
    script = "from maskedge.cli.run import main; main(['--source', 'demo', '--show', '--max-frames', '20'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment({"DISPLAY": screen}),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "window" in done.stdout, "the window's stage was timed"
    assert "without a window" not in done.stderr


def test_several_cameras_share_a_window(screen: str, tmp_path: Path) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    camera = '[[camera]]\nname = "{}"\nsource = "demo"\nlive = true\nloop = true\nfps = 10\n'
    file, shot = tmp_path / "edge.toml", tmp_path / "shot.png"
    file.write_text("[output]\nshow = true\n" + camera.format("door") + camera.format("hall"))
    grab = ["ffmpeg", "-y", "-loglevel", "error", "-f", "x11grab", "-s", "1024x768", "-i", screen, "-frames:v", "1", str(shot)]

    def shows_two() -> bool:
        time.sleep(0.3)  # between two pictures, so that they leave the machine to the cameras
        subprocess.run(grab, check=True, timeout=60)
        # The grey background of the clip is left and right of the middle of the cells' border.
        row = cv2.imread(str(shot))[:, :, 1].astype(float)
        columns = np.flatnonzero(((row > 120) & (row < 170)).mean(axis=0) > 0.25)
        return bool(len(columns)) and int(np.diff(columns).max()) > 20

    # Without a window manager, Qt leaves one new window in ten black, whatever is drawn into it.
    for attempt in range(6):
        run = subprocess.Popen(
            command_line(["edge-run", "--config", file]), stderr=subprocess.PIPE, env=environment({"DISPLAY": screen})
        )
        try:
            until(shows_two, 8 * (attempt + 1))
            break
        except AssertionError:
            if attempt == 5:
                raise
        finally:
            run.terminate()
            _, errors = run.communicate(timeout=30)
            print(errors.decode())  # says why there is no window
    assert b"Traceback" not in errors
    assert run.returncode == 143
