"""What leaves the program of the people in front of the camera: through every output of a real run."""

from __future__ import annotations

import json
import logging
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.brokers import Listener, Mosquitto, wait_for
from maskedge import Face, MaskDetector
from maskedge.boxes import box_iou
from maskedge.config import EdgeConfig, PrivacyConfig, load_config
from maskedge.privacy import PERSONAL_KEYS
from maskedge.rendering import draw
from maskedge.rendering.draw import pixelate
from maskedge.results import FrameResult
from maskedge.runtime.build import Run, build_run, open_detector
from maskedge.runtime.loop import run
from maskedge.runtime.summary import Summary
from maskedge.sinks.base import Sink
from maskedge.sinks.clips import ClipsConfig
from maskedge.sinks.events import EventsConfig
from maskedge.sinks.images import ImageSink
from maskedge.sinks.snapshots import SnapshotsConfig
from maskedge.sinks.web import feeds
from maskedge.sinks.window import WindowSink
from maskedge.sources import DemoSource, Source, VideoFileSource, demo
from maskedge.tracking import appearance
from maskedge.tracking import tracker as track
from maskedge.tracking.appearance import describe
from maskedge.types import Box, FaceLabel, Image
from maskedge.vision.pipeline import as_bgr

CLIP = "clips/four_people_putting_masks_on.mp4"


def play(
    config: EdgeConfig, source: Source, *more: Sink, frames: int, progress: Any = lambda _: None
) -> tuple[Run, list[FrameResult]]:
    """A run as edge-run has it, with further outputs; gives what outputs received."""

    class Keeper(Sink):
        """An output that knows nothing of privacy."""

        name = "keeper"

        def __init__(self) -> None:
            self.answers: list[FrameResult] = []

        def write(self, answer: FrameResult) -> bool:
            self.answers.append(answer)
            return True

    keeper, sinks = Keeper(), list[Sink]()
    detector = open_detector(config, every_frame=config.privacy.anonymize)
    detector.start_tracking()
    built = build_run(config, source, detector, sinks)
    sinks += [*more, keeper]
    ended = run(
        source,
        detector,
        sinks,
        max_frames=frames,
        context=built.context,
        progress=lambda s: progress(built, s),
    )
    assert ended.failure is None
    return built, keeper.answers


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310  (our own page)
        return bytes(reply.read())


# --- pictures ----------------------------------------------------------------------------------------------------------------


def detail(image: Image, box: Box) -> np.ndarray[Any, Any]:
    """What distinguishes a face: grey levels in a box without what a few coarse squares can show."""
    x1, y1, x2, y2 = (round(value) for value in box)
    grey = cv2.cvtColor(image[max(y1, 0) : y2, max(x1, 0) : x2], cv2.COLOR_BGR2GRAY).astype(np.float32)
    return (grey - cv2.blur(grey, (max(3, (x2 - x1) // 4),) * 2)).ravel()


def assert_hidden(original: Image, picture: Image, boxes: list[Box], judge: MaskDetector, where: str) -> None:
    """No detector finds one of the faces, and nothing of their detail is left."""
    picture = cv2.resize(picture, original.shape[1::-1]) if picture.shape != original.shape else picture
    left = [face for face in judge(as_bgr(picture)) if any(box_iou(face.box, box) > 0.2 for box in boxes)]
    assert left == [], where
    for box in boxes:
        alike = float(np.corrcoef(detail(original, box), detail(picture, box))[0, 1])
        assert abs(alike) < 0.3, f"{where}: {alike:.2f}"


def video_frames(path: Path) -> list[Image]:
    capture, found = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        found.append(np.asarray(read[1], np.uint8))
    return found


@pytest.fixture(params=["demo", CLIP])
def clip(request: pytest.FixtureRequest) -> Iterator[Source]:
    """The built-in clip, and real people where they are there."""
    if request.param == "demo":
        yield DemoSource()
    else:
        yield VideoFileSource(request.getfixturevalue("data_dir") / CLIP)


def test_hidden_faces_leave_through_no_output(clip: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_file = tmp_path / "edge.toml"
    config_file.write_text(
        f"""
        [privacy]
        anonymize = true
        [output]
        save = "{tmp_path / "out.mkv"}"
        [web]
        serve = "127.0.0.1:0"
        picture = true
        [snapshots]
        folder = "{tmp_path / "snapshots"}"
        [clips]
        folder = "{tmp_path / "clips"}"
        before = 60
        after = 0
        fps = 30
        [[alerts]]
        name = "someone"
        when = "too_many_people"
        threshold = 0
        seconds = 1
        actions = ["snapshot", "clip"]
        """
    )
    shown: list[Image] = []
    # What is shown is caught where OpenCV gets it: most machines that run tests have no display.
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture.copy()))
    for name in ("namedWindow", "resizeWindow", "destroyAllWindows", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "pollKey", lambda: -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    (tmp_path / "pictures").mkdir()
    served: list[tuple[int, bytes]] = []

    def ask(built: Run, summary: Summary) -> None:
        if summary.frames % 20 == 0:
            served.append((summary.frames - 1, fetch(f"{built.page}snapshot.jpg")))

    outputs = WindowSink(wait=False), ImageSink(tmp_path / "pictures", single=False)
    _, answers = play(load_config(config_file, {}).config, clip, *outputs, frames=60, progress=ask)
    # The clip shows a picture of a face, smaller than the cascade detects.
    judge = MaskDetector(detector="cnn", min_face_size=48)
    checked: list[int] = []

    def check(picture: Image, where: str, index: int | None = None) -> None:
        if index is None:
            index = min(range(60), key=lambda at: float(cv2.absdiff(answers[at].picture, picture).mean()))
        original = answers[index].frame.image
        boxes = [face.box for face in judge(original)]
        checked.append(len(boxes))
        assert_hidden(original, picture, boxes, judge, where)

    for index in (10, 40):
        check(shown[index], "the window", index)
        check(video_frames(tmp_path / "out.mkv")[index], "the video", index)
    for index, jpeg in served:
        check(np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8), "the page", index)
    stored = [*(tmp_path / "snapshots").iterdir(), *sorted((tmp_path / "pictures").iterdir())[::40]]
    for path in stored:
        check(np.asarray(cv2.imread(str(path)), np.uint8), path.parent.name)
    (video,) = (tmp_path / "clips").iterdir()
    check(video_frames(video)[-1], "a clip of an alert")
    assert len(stored) == 3
    assert min(checked) >= 1, "there were faces to hide"


def test_the_mosaic_of_overlapping_faces_is_of_the_picture_itself() -> None:
    image = demo.draw(200)
    box = (100.0, 100.0, 200.0, 220.0)
    once = pixelate(image, [box])
    assert (pixelate(image, [box, box]) == once).all()
    assert (pixelate(image, [(-50.0, -50.0, -10.0, -10.0)]) == image).all()


# --- statistics alone --------------------------------------------------------------------------------------------------------


def keys_of(value: object) -> set[str]:
    """All keys of a JSON value, but those of the times of stages, of which one is called `track`."""
    if isinstance(value, dict):
        return set(value).union(*(keys_of(inner) for key, inner in value.items() if key != "latency_ms"))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


class Hook:
    """A server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.mark.parametrize("stats_only", [True, False])
def test_statistics_contain_neither_positions_nor_identities(
    stats_only: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every text that a run writes or sends. Without the option the same texts hold both, so that the test is worth something."""
    broker, hook = Mosquitto(tmp_path / "broker"), Hook()
    listener = Listener(broker.port, "#")
    script = tmp_path / "keep.py"
    script.write_text(f"import sys; open({str(tmp_path / 'command.jsonl')!r}, 'a').write(sys.stdin.read())")
    config_file = tmp_path / "edge.toml"
    config_file.write_text(
        f"""
        [privacy]
        stats_only = {str(stats_only).lower()}
        [events]
        file = "{tmp_path / "events.jsonl"}"
        [web]
        serve = "127.0.0.1:0"
        [mqtt]
        url = "mqtt://127.0.0.1:{broker.port}"
        topic = "door"
        spool = "{tmp_path / "spool"}"
        discovery = true
        interval = 0.1
        [[line]]
        name = "left"
        points = "0.2,1 0.2,0.5"
        [[alerts]]
        name = "bare"
        when = "person_without_mask"
        seconds = 0.5
        actions = ["event", "mqtt", "webhook", "command"]
        webhook = "http://127.0.0.1:{hook.server.server_address[1]}/"
        command = ["/usr/bin/env", "python3", "{script}"]
        """
    )
    streamed: list[bytes] = []
    states: list[Any] = []

    def listen(built: Run) -> None:
        url = f"{built.page}api/events?kinds=status,faces,happening&after=0"
        with urllib.request.urlopen(url, timeout=10) as stream:  # noqa: S310  (our own page)
            streamed.extend(iter(stream.readline, b""))

    def ask(built: Run, summary: Summary) -> None:
        if summary.frames == 1:
            threading.Thread(target=listen, args=(built,), daemon=True).start()
        if summary.frames == 90:
            wait_for(lambda: any(b"face_appeared" in line for line in streamed), "the stream of events")
            states.append(json.loads(fetch(f"{built.page}api/status")))
            wait_for(lambda: listener.of("door/statistics") and listener.of("door/alerts/bare"), "MQTT")
            wait_for(lambda: hook.got and (tmp_path / "command.jsonl").is_file(), "the actions")

    with caplog.at_level(logging.DEBUG, "maskedge"):
        _, answers = play(load_config(config_file, {}).config, DemoSource(), frames=90, progress=ask)
    wait_for(lambda: any("alert" in payload for payload in listener.of("door/events")), "the alert over MQTT")
    listener.close()
    broker.stop()
    hook.server.shutdown()
    texts = {
        "events": [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()],
        "MQTT": [json.loads(payload) for _, payload, _ in listener.messages if payload.startswith("{")],
        "web page": states + [json.loads(line[6:]) for line in streamed if line.startswith(b"data: ")],
        "webhook": hook.got,
        "command": [json.loads(line) for line in (tmp_path / "command.jsonl").read_text().splitlines()],
        "log": [record.happening for record in caplog.records if hasattr(record, "happening")],
    }
    personal = {"box", "track", "tracks"}
    for where, found in texts.items():
        assert found, where
        assert bool(keys_of(found) & personal) is not stats_only, where
    assert any(record.getMessage().count("track") for record in caplog.records) is not stats_only
    assert {"alert", "face_appeared", "line_crossed"} <= {event.get("event") for event in texts["events"]}
    # What any other output receives: labels, and pictures in which no one has a number.
    assert all(isinstance(face, FaceLabel) for answer in answers for face in answer.faces) is stats_only
    last = answers[-1]
    assert bool(last.located) is not stats_only
    assert last.hidden is None
    assert (last.picture != last.plain).any(), "boxes are drawn"
    assert (last.with_banner("no camera").picture != last.picture).any()
    monkeypatch.setattr("maskedge.rendering.draw.caption", lambda face: str(face.track))
    captions: list[str] = []
    monkeypatch.setattr(cv2, "putText", lambda canvas, text, *_: captions.append(text))
    _ = replace(last.drawn_from or last).picture
    assert ("None" in captions) is stats_only


# --- what is computed --------------------------------------------------------------------------------------------------------


def come_back(detector: MaskDetector, away: int) -> tuple[set[int | None], set[int | None]]:
    """Numbers of the people of a picture, and of the same people after some empty frames."""
    people, nobody = demo.draw(240), np.full((480, 640, 3), 128, np.uint8)
    detector.start_tracking()
    before = [{face.track for face in detector(people)} for _ in range(10)][-1]
    for _ in range(away):
        assert detector(nobody) == []
    return before, [{face.track for face in detector(people)} for _ in range(3)][-1]


def test_without_reidentification_a_returning_person_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = come_back(MaskDetector(tracking=True), away=30)
    assert before == after
    described: list[object] = []
    monkeypatch.setattr("maskedge.tracking.tracker.describe", lambda *_: described.append(1))
    detector = MaskDetector(tracking=True, reidentify=False)
    before, after = come_back(detector, away=30)
    assert len(before) == len(after) >= 2
    assert not before & after
    before, after = come_back(detector, away=1)
    assert before == after, "who is missed for a moment has not left"
    assert described == [], "nothing is computed that could distinguish people"
    # Those who are waited for are still hidden, though they would not be known again.
    come_back(detector, away=2)
    assert detector.tracker is not None
    assert len(detector.tracker.tracks) >= len(before)


def test_the_option_reaches_the_tracker(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text("[privacy]\nno_reidentification = true\n")
    detector = open_detector(load_config(tmp_path / "edge.toml", {}).config)
    detector.start_tracking()
    assert detector.tracker is not None
    assert detector.tracker._reidentify is False


def test_the_page_on_privacy_has_the_numbers_of_the_code() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8").split())
    look = describe(demo.draw(240), (250.0, 150.0, 350.0, 260.0))
    assert look is not None
    seconds = track.KEEP
    events, snapshots, clips = EventsConfig(), SnapshotsConfig(), ClipsConfig()
    for words in (
        f"{look.size} numbers, from {appearance._SIDE} x {appearance._SIDE} pixels",
        f"for {seconds:g} seconds after the face was last seen",
        f"within these {seconds:g} seconds",
        f"its expected place stays covered for {seconds:g} seconds",
        f"missed for up to {track._FRESH:g} seconds",
        f"the last {feeds._KEPT_EVENTS} events",
        f"by {draw._HIDDEN_MARGIN:.0%} on every side and cover it with {draw._MOSAIC} x {draw._MOSAIC} squares".replace("%", " %"),
        *(f"`keep` ({kept.keep}), `keep_days` ({kept.keep_days:g}), `keep_mb` ({kept.keep_mb:g})" for kept in (snapshots, clips)),
    ):
        assert words in page, words
    assert {"rotate_mb", "rotate_daily", "keep"} <= {entry.name for entry in fields(events)}
    # The page names every key of the section.
    assert all(entry.name in page or f"--{entry.name.replace('_', '-')}" in page for entry in fields(PrivacyConfig))
    assert all(f"`{key}`" in page for key in PERSONAL_KEYS)
    # Only the tracker asks for a descriptor, and no output can: it is no part of a face or an event.
    assert "look" not in {entry.name for entry in fields(Face)}
