"""`edge-run` as a process: its files, messages and exit codes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.support import METADATA, command_line, environment, write_detector, write_model
from maskedge.modelfile.contract import default_model
from maskedge.sources import demo
from maskedge.types import Image
from maskedge_bench.contestants.pipelines import BASELINE_MODEL


def read_frames(text: str) -> list[dict[str, Any]]:
    """Return the lines of frames, without those of events."""
    return [event for event in map(json.loads, text.splitlines()) if "faces" in event]


def count_labels(text: str) -> Counter[str]:
    return Counter(face["label"] for event in read_frames(text) for face in event["faces"])


@pytest.mark.parametrize("detector", ["haar", "cnn", "haar-stock"])
def test_demo_to_its_end(command, tmp_path: Path, detector: str) -> None:  # type: ignore[no-untyped-def]
    done = command(
        "edge-run", "--source", "demo", "--detector", detector, "--save", tmp_path / "demo.mp4", "--events", tmp_path / "demo.jsonl"
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"demo: 300 frames in [\d.]+ s, [\d.]+ frames/s", done.stdout)
    people = re.search(r"distinct people: (\d) with_mask, (\d) without_mask, 0 incorrect_mask", done.stdout)
    assert people is not None, done.stdout
    # OpenCV's cascade finds one of the six too rarely to count.
    assert people.groups() in {("3", "3"), *([("2", "3"), ("3", "2")] if detector == "haar-stock" else [])}
    for stage in ("capture", "detect", "classify", "track", "total"):
        assert re.search(rf"{stage} +[\d.]+ +[\d.]+", done.stdout), stage
    assert done.stderr.strip() == "no display: running without a window" or "frame " in done.stderr
    events = read_frames((tmp_path / "demo.jsonl").read_text())
    assert [event["frame"] for event in events] == list(range(300))
    labels = Counter(face["label"] for event in events for face in event["faces"])
    assert labels.keys() >= {"with_mask", "without_mask"}
    assert labels["incorrect_mask"] <= 0.02 * labels.total()
    capture = cv2.VideoCapture(str(tmp_path / "demo.mp4"))
    capture.set(cv2.CAP_PROP_POS_FRAMES, 150)
    ready, picture = capture.read()
    assert ready
    # The overlay is drawn.
    assert (cv2.absdiff(picture, demo.draw(150)) > 60).any(axis=2).sum() > 2000


@pytest.mark.parametrize(
    ("model", "options"),
    [(default_model(), ()), (default_model(), ("--labels", "without_mask, with_mask")), (BASELINE_MODEL, ())],
    ids=["edgenet", "edgenet with two labels", "seednet"],
)
def test_four_labels_and_two_through_the_same_command(command, tmp_path: Path, model: Path, options: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    events = tmp_path / "events.jsonl"
    done = command("edge-run", "--source", "demo", "--model", model, *options, "--max-frames", "120", "--events", events)
    assert done.returncode == 0, done.stderr
    labels = count_labels(events.read_text())
    assert labels["with_mask"] > 50
    assert labels["without_mask"] > 50
    assert ("incorrect_mask" in done.stdout) == (model == default_model() and not options)


def test_files_are_obeyed(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Input size, labels and detector settings come from the metadata of the files."""
    model = write_model(tmp_path / "own.onnx", metadata=METADATA | {"maskedge.labels": '["night", "dusk", "day"]'}, outputs=3)
    detector = write_detector(tmp_path / "detector.onnx", size=(20, 15))
    picture = np.zeros((150, 200, 3), np.uint8)
    picture[50:60, 100:110] = 255
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    # For a model without not_a_face the default threshold is too high for this detector.
    options = ("--model", model, "--detector-model", detector, "--events", "-")
    done = command("edge-run", "--source", tmp_path / "picture.png", *options, env={"MASKEDGE_DETECT_FACE_THRESHOLD": "0"})
    assert done.returncode == 0, done.stderr
    (face,) = json.loads(done.stdout)["faces"]
    assert face["label"] == "day"
    assert face["box"] == [100.0, 50.0, 110.0, 60.0]
    wrong = command("edge-run", "--source", tmp_path / "picture.png", "--detector-model", model)
    assert wrong.returncode == 4
    assert "expected 'detector'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_no_camera(command) -> None:  # type: ignore[no-untyped-def]
    done = command("edge-run", "--camera", "97")
    assert done.returncode == 3
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: camera 97 could not be opened; ")
    assert "video device" in line
    assert "--source demo" in line


def test_pictures(command, tmp_path: Path, frames: list[Image]) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "in"
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number}.png"), frame)
    (folder / "bad.jpg").write_bytes(b"\xff\xd8 no picture")
    out = tmp_path / "annotated"
    out.mkdir()
    done = command("edge-run", "--source", folder, "--save", out, "--events", "-")
    assert done.returncode == 0
    assert "bad.jpg" in done.stderr
    assert "1 skipped" in done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) == len(frames) == len(list(out.glob("*.jpg")))
    assert all(face["track"] is None for event in events for face in event["faces"])
    assert sum(len(event["faces"]) for event in events) >= 10


def test_models_with_other_labels_and_sizes_are_obeyed(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    metadata = METADATA | {"maskedge.labels": '["dark", "bright"]'}
    model = write_model(tmp_path / "own.onnx", metadata=metadata, shape=("N", 40, 40, 3))
    done = command("edge-run", "--source", "demo", "--model", model, "--max-frames", "20", "--events", "-", "--quiet")
    assert done.returncode == 0, done.stderr
    assert count_labels(done.stdout).keys() == {"bright"}
    assert "own.onnx has no label not_a_face" in done.stderr
    assert done.stderr.count("\n") == 1


FAILURES = {
    "no source": ((), 2, "give exactly one source"),
    "two sources": (("--camera", "0", "--source", "demo"), 2, "give exactly one source"),
    "label that the model lacks": (
        ("--source", "demo", "--labels", "with_mask,beard"),
        2,
        "no label 'beard' for a face",
    ),
    "one label": (("--source", "demo", "--labels", "with_mask"), 2, "two labels or more"),
    "operating point that the model lacks": (
        ("--source", "demo", "--detector", "haar-stock", "--precision", "high"),
        2,
        "has no measurement of the operating point 'high' for the detector haar-stock",
    ),
    "unknown option": (("--sauce", "demo"), 2, "No such option"),
    "missing file": (("--source", "{tmp}/none.mp4"), 3, "there is no file or folder"),
    "folder without pictures": (("--source", "{tmp}"), 3, "contains no picture"),
    "file that is no video": (("--source", "{tmp}/text.mp4"), 3, "neither a picture nor a video"),
    "missing model": (("--source", "demo", "--model", "{tmp}/none.onnx"), 4, "there is no model file"),
    "model that is not ONNX": (("--source", "demo", "--model", "{tmp}/text.mp4"), 4, "not an ONNX model"),
    "model against the contract": (("--source", "demo", "--model", "{tmp}/broken.onnx"), 4, "breaks the model contract"),
    "missing output folder": (("--source", "demo", "--save", "{tmp}/none/out.mp4"), 5, "does not exist"),
    "unwritable events": (("--source", "demo", "--events", "/proc/events.jsonl"), 5, "cannot be written"),
    "output without a container": (("--source", "demo", "--save", "{tmp}/out.xyz"), 5, "does not name a video that can be written"),
}


@pytest.mark.parametrize(("arguments", "code", "sentence"), FAILURES.values(), ids=FAILURES.keys())
def test_failures_are_one_sentence_and_a_code(
    command, tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "text.mp4").write_text("this is no video\n" * 50)
    write_model(tmp_path / "broken.onnx", metadata={})
    done = command("edge-run", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not done.stdout, "reported before the first frame"
    if code != 2:
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_every_output(tmp_path: Path, number: signal.Signals, code: int) -> None:
    events, video = tmp_path / "events.jsonl", tmp_path / "out.mp4"
    process = subprocess.Popen(
        command_line(["edge-run", "--source", "demo", "--save", video, "--events", events]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + 60
    while (not events.exists() or events.stat().st_size < 3000) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert "distinct people" in stdout, "the summary is printed"
    lines = read_frames(events.read_text())
    assert 0 < len(lines) < 300
    capture = cv2.VideoCapture(str(video))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == len(lines)


def test_truncated_video_is_done_then_said(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    whole, front, cut = tmp_path / "whole.mp4", tmp_path / "front.mp4", tmp_path / "cut.mp4"
    assert command("edge-run", "--source", "demo", "--max-frames", "60", "--save", whole, "--quiet").returncode == 0
    subprocess.run(["ffmpeg", "-v", "error", "-i", whole, "-c", "copy", "-movflags", "+faststart", front], check=True)
    cut.write_bytes(front.read_bytes()[: front.stat().st_size // 2])
    done = command("edge-run", "--source", cut, "--events", tmp_path / "events.jsonl")
    assert done.returncode == 3
    assert re.search(r"ended after \d+ frames, at [\d.]+ s of 2.0 s: the file is truncated or damaged", done.stderr)
    count = len(read_frames((tmp_path / "events.jsonl").read_text()))
    assert 5 < count < 60
    assert f"{count} frames in" in done.stdout


def test_help_is_quick_to_read_and_loads_nothing_heavy(command) -> None:  # type: ignore[no-untyped-def]
    done = command("edge-run", "--help")
    assert done.returncode == 0
    for word in ("--camera", "--source", "--save", "--events", "--max-frames", "--show", "--quiet", "Exit codes", "Examples"):
        assert word in done.stdout


@pytest.mark.parametrize("detector", ["haar", "cnn"])
def test_real_clip(command, data_dir: Path, tmp_path: Path, detector: str) -> None:  # type: ignore[no-untyped-def]
    clip = data_dir / "clips" / "one_man_no_mask.mp4"
    done = command("edge-run", "--source", clip, "--detector", detector, "--events", tmp_path / "e.jsonl", "--max-frames", "60")
    assert done.returncode == 0, done.stderr
    labels = count_labels((tmp_path / "e.jsonl").read_text())
    assert labels["without_mask"] >= 50
    assert "distinct people: 0 with_mask, 1 without_mask, 0 incorrect_mask (1 in all)" in done.stdout
    assert labels["with_mask"] <= 5


def test_a_reader_that_has_enough_ends_the_run() -> None:
    line = shlex.join(command_line(["edge-run", "--source", "demo", "--events", "-", "--no-show"]))
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{line} | head -1"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frame"] == 0
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_failed_start_leaves_earlier_events_alone(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "events.jsonl").write_text("earlier")
    outputs = ["--events", tmp_path / "events.jsonl", "--save", tmp_path / "none" / "out.mp4", "--overwrite"]
    done = command("edge-run", "--source", "demo", *outputs)
    assert done.returncode == 5
    assert (tmp_path / "events.jsonl").read_text() == "earlier"
