"""The parts of the app that need no browser."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.support import METADATA, write_detector, write_model
from maskedge import Face, MaskDetector
from maskedge.errors import ModelError, OutputError, SourceError, UsageError
from maskedge.modelfile.contract import MODELS, default_model
from maskedge.rendering.draw import _place, mosaics, pixelate
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.results import FrameResult
from maskedge.runtime.context import StopRequest
from maskedge.runtime.summary import Summary
from maskedge.sources import demo, open_source
from maskedge.sources.base import stamp
from maskedge.types import Image
from maskedge.vision.detectors import detector_names

pytest.importorskip("streamlit", reason="the extra app is not installed")

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send
from streamlit.testing.v1 import AppTest

from maskedge.app import charts, reports, video_job
from maskedge.app import model_library as library
from maskedge.app.results import DisplayOptions, event_line, preview_jpeg, table_rows
from maskedge.app.server import OwnPagesOnly, check_port, live_endpoint, resolves_to_loopback
from maskedge.app.stream import MAX_SESSIONS, SESSIONS, LiveSession, LiveSessions
from maskedge.app.views import models
from maskedge.app.widgets import plain

CONFIDENT = Face((20.0, 20.0, 90.0, 100.0), "with_mask", 0.97, "with_mask", 0.97)
DOUBTFUL = Face((300.4, 200.0, 330.0, 240.0), "without_mask", 0.55, "without_mask", 0.55)


@pytest.fixture(scope="module")
def bundled() -> library.ModelFile:
    return library.installed_models()[0]


def jpeg(image: Image) -> bytes:
    return encode_jpeg(image, 90)


def frame_result(*faces: Face) -> FrameResult:
    return FrameResult(stamp(demo.draw(200), 0, "party.jpg"), list(faces), {"total": 12.0, "detect": 9.0, "classify": 1.0})


def test_options_label_doubtful_faces_unsure_and_leave_small_faces_out() -> None:
    given = frame_result(CONFIDENT, DOUBTFUL)
    assert [face.label for face in DisplayOptions(threshold=0.6).apply(given).faces] == ["with_mask", "unsure"]
    assert DisplayOptions(threshold=0.6).apply(given).faces[1].raw_label == "without_mask"
    assert DisplayOptions(min_face_size=32).apply(given).faces == [CONFIDENT]
    assert given.faces == [CONFIDENT, DOUBTFUL]


def test_hidden_faces_are_gone_from_every_picture() -> None:
    given = frame_result(CONFIDENT)
    hidden = DisplayOptions(hide_faces=True).apply(given)
    assert np.array_equal(hidden.plain, pixelate(demo.draw(200), [CONFIDENT.box]))
    assert np.array_equal(given.plain, demo.draw(200))
    # A face that is left out is hidden too.
    assert np.array_equal(DisplayOptions(min_face_size=400, hide_faces=True).apply(given).plain, hidden.plain)
    # For a video, the loop has set `hidden` and may know more people.
    video = replace(given, hidden=[CONFIDENT.box, DOUBTFUL.box])
    assert DisplayOptions(hide_faces=True).apply(video).hidden == video.hidden
    assert preview_jpeg(hidden) == jpeg(hidden.picture)


def test_videos_and_the_live_view_hide_faces_as_edge_run_does(bundled: library.ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures: list[np.ndarray] = []  # type: ignore[type-arg]
    monkeypatch.setattr(video_job, "MAX_FRAMES", 20)
    monkeypatch.setattr(video_job.Stills, "write", lambda self, result: pictures.append(result.plain) or True)
    hidden: list[tuple[float, float, float, float]] = []
    monkeypatch.setattr(
        "maskedge.runtime.frame_processor.hidden_boxes", lambda *faces: hidden.append((0, 0, 60, 60)) or hidden[-1:]
    )
    video_job.annotate_video("demo", None, library.build_detector(bundled, "haar"), DisplayOptions(hide_faces=True))
    assert len(pictures) == 20
    assert np.array_equal(pictures[7], pixelate(demo.draw(7), [(0, 0, 60, 60)]))

    session = LiveSession(bundled, "haar", DisplayOptions(hide_faces=True))
    for index in range(240, 246):
        image = cv2.imdecode(np.frombuffer(jpeg(demo.draw(index)), np.uint8), cv2.IMREAD_COLOR)
        got = session.process(jpeg(demo.draw(index)))
    # The mosaics that the browser draws over its own picture.
    covered = {(one["left"], one["top"], one["width"], one["height"]): one["colours"] for one in got["hidden"]}
    tracks = session._detector.tracker.tracks  # type: ignore[union-attr]
    expected = mosaics(image, [track.box for track in tracks])  # type: ignore[arg-type]
    assert covered.keys() == {(one.left, one.top, one.width, one.height) for one in expected}
    blue, green, red = expected[0].colours[0, 1].tolist()
    assert covered[expected[0][:4]][0][1] == f"#{red:02x}{green:02x}{blue:02x}"


def test_table_and_events() -> None:
    rows = table_rows([DOUBTFUL, CONFIDENT])
    assert [row["label"] for row in rows] == ["✓ With a mask", "✕ Without a mask"]
    assert rows[0] == {"face": 1, "label": "✓ With a mask", "confidence": 97, "size": "70 x 80", "left": 20, "top": 20}
    event = json.loads(event_line(frame_result(CONFIDENT)))
    assert event["source"] == "party.jpg"
    assert event["faces"][0]["label"] == "with_mask"


def test_large_pictures_are_shown_small() -> None:
    large = FrameResult(
        stamp(np.zeros((3000, 4000, 3), np.uint8), 0, "x"), [replace(CONFIDENT, box=(400.0, 400.0, 2000.0, 2000.0))], {}
    )
    shown = cv2.imdecode(np.frombuffer(preview_jpeg(large), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (960, 1280, 3)
    assert shown[130:640, 126:132].max() > 100


def test_uploaded_models_are_checked_by_the_contract(tmp_path: Path) -> None:
    good = write_model(tmp_path / "own.onnx").read_bytes()
    model = library.check_model("own.onnx", good)
    assert model.kind == "classifier"
    assert [face.label for face in library.build_detector(model, "haar")(demo.draw(240))]
    assert "Model card: own.onnx" in model.render_card()
    detector = library.check_model("detector.onnx", write_detector(tmp_path / "detector.onnx").read_bytes())
    assert detector.kind == "detector"
    assert "40 x 30" in detector.render_card()
    assert library.build_detector(model, detector)(np.zeros((60, 80, 3), np.uint8)) == []


def test_a_classifier_without_not_a_face_causes_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = library.check_model("own.onnx", write_model(tmp_path / "own.onnx").read_bytes())
    got = LiveSession(model, "cnn", DisplayOptions()).process(jpeg(demo.draw(240)))
    assert got["notice"].startswith("own.onnx")
    monkeypatch.setattr(video_job, "MAX_FRAMES", 2)
    video = video_job.annotate_video("demo", None, library.build_detector(model, "cnn"), DisplayOptions())
    assert video.notes[0] == got["notice"]
    page = AppTest.from_file(str(Path(video_job.__file__).with_name("main.py")), default_timeout=60)
    page.session_state["models"] = {model.digest: model}
    assert not page.run().info
    page.pills(key="try-detectors").set_value(["cnn"])
    page.selectbox(key="try-model").set_value(model).run()
    assert [info.value for info in page.info] == [plain(got["notice"])]


def open_app(view: str | None = None, **state: object) -> AppTest:
    """Return the first view of the app, or a view alone, after its first run."""
    script = f"from maskedge.app.views.{view} import show\nshow()\n"
    main = str(Path(video_job.__file__).with_name("main.py"))
    page = AppTest.from_string(script) if view else AppTest.from_file(main)
    for key, value in state.items():
        page.session_state[key] = value
    return page.run(timeout=60)


@pytest.mark.parametrize(
    "card",
    [
        {"evaluations": 3},
        {"evaluations": ["best"]},
        {"evaluations": [{"name": "validation", "pictures": "ten"}]},
        {"evaluations": [{"name": "a", "pictures": 1, "accuracy": 1}], "limits": [{}]},
        {"curve": 3},
        {"parameters": "many"},
    ],
)
def test_a_card_of_another_program_breaks_only_its_own_part(tmp_path: Path, card: dict[str, object]) -> None:
    file = write_model(tmp_path / "own.onnx", metadata={**METADATA, "maskedge.card": json.dumps(card)})
    model = library.check_model("own.onnx", file.read_bytes())
    page = open_app("models", models={model.digest: model})
    assert not page.exception
    assert page.error
    assert all("own\\.onnx" in error.value and "cannot be shown" in error.value for error in page.error)
    assert not any("maskedge\\-app" in error.value for error in page.error)
    assert "own\\.onnx" in [one.value for one in page.subheader]


def test_texts_of_a_model_load_no_picture_of_another_host(tmp_path: Path) -> None:
    picture = "![x](http://evil.example/x.png)"
    card = {"net": picture, "evaluations": [{"name": picture, "pictures": 1, "accuracy": 1}]}
    file = write_model(tmp_path / "own.onnx", metadata={**METADATA, "maskedge.card": json.dumps(card)})
    model = library.check_model(f"{picture}.onnx", file.read_bytes())
    page = open_app("models", models={model.digest: model})
    texts = [one.value for one in (*page.markdown, *page.subheader, *page.error, *page.caption)]
    assert any("evil" in text for text in texts)
    assert not any("![" in text for text in texts)


def test_a_model_that_was_replaced_meanwhile_is_one_sentence(tmp_path: Path) -> None:
    file = write_model(tmp_path / "own.onnx")
    model = library.check_model("own.onnx", file.read_bytes(), file)
    page = open_app(models={model.digest: model})
    file.write_bytes(b"another file")
    page.selectbox(key="try-model").select(model).run(timeout=60)
    assert not page.exception
    (error,) = page.error
    assert error.value.startswith(plain(f"{file} is refused: it is not an ONNX model"))


def test_pictures_that_are_large_together_are_not_all_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskedge.app.views.try_it._BYTES_AT_ONCE", demo.draw(0).nbytes)
    page = open_app()
    page.segmented_control(key="try-source").set_value("My files").run(timeout=60)
    files = [(f"{number}.jpg", jpeg(demo.draw(number)), "image/jpeg") for number in range(4)]
    page.file_uploader(key="try-files").set_value(files).run(timeout=60)
    assert not page.exception
    assert [one.value for one in page.subheader][:-1] == [plain("0.jpg"), plain("1.jpg")]
    assert "Only the first 2 pictures" in page.warning[0].value
    # Streamlit discards the answer to a click if the view runs again at that time.
    buttons = page.get("download_button")
    assert "All events (JSON Lines)" in [button.proto.label for button in buttons]
    assert all(button.proto.ignore_rerun for button in buttons)


def test_refused_models_are_explained(tmp_path: Path) -> None:
    no_crop = write_model(tmp_path / "a.onnx", metadata={key: value for key, value in METADATA.items() if key != "maskedge.crop"})
    flipped = bytearray(default_model().read_bytes())
    flipped[len(flipped) // 2] ^= 1
    for content, words in (
        (b"", "is empty"),
        (b"hello", "is not an ONNX model"),
        (no_crop.read_bytes(), "its metadata has no maskedge.crop"),
        (bytes(flipped), "is damaged"),
    ):
        with pytest.raises(ModelError, match=words) as caught:
            library.check_model("mine.onnx", content)
        assert str(caught.value).startswith("mine.onnx ")
        assert "maskedge-app-" not in str(caught.value)


def test_video_gives_file_events_people_and_stills(bundled: library.ModelFile, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 30, (640, 480))
    for index in range(200, 240):
        writer.write(demo.draw(index))
    writer.release()
    progress: list[tuple[int, int | None]] = []
    got = video_job.annotate_video(
        "my clip.mp4",
        clip.read_bytes(),
        library.build_detector(bundled, "haar", detect_every=2),
        DisplayOptions(),
        progress=lambda summary, length, _: progress.append((summary.frames, length)),
    )
    assert progress[-1] == (40, 40)
    assert got.people["with_mask"] >= 1
    assert got.people["without_mask"] >= 1
    events = [json.loads(line) for line in got.events.splitlines()]
    # Events of other kinds are between the frames and have a key `event`.
    assert len([event for event in events if "event" not in event]) == 40
    assert {event["source"] for event in events} == {"my clip.mp4"}
    (tmp_path / "back.mp4").write_bytes(got.content)
    assert cv2.VideoCapture(str(tmp_path / "back.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 40
    assert len(got.stills[0]) == len(got.stills[1]) == 40
    assert {row["second"] for row in got.timeline} == {0, 1}
    assert charts.timeline_chart(got.timeline)["data"]["values"]


def test_stills_stay_few_and_even_however_long_the_video() -> None:
    stills = video_job.Stills()
    small = np.zeros((24, 32, 3), np.uint8)
    for index in range(2000):
        stills.write(FrameResult(stamp(small, index, "x"), [], {}))
    assert len(stills.pictures) <= video_job.MAX_STILLS
    assert len(set(np.diff(stills.indices))) == 1


def test_stopped_or_broken_videos_leave_nothing_behind(
    bundled: library.ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SourceError, match=r"^notes\.mp4 is neither") as caught:
        video_job.annotate_video("notes.mp4", b"just words", library.build_detector(bundled, "haar"), DisplayOptions())
    assert str(tmp_path) not in str(caught.value)
    stop = StopRequest()

    def halt(summary: Summary, *_: object) -> None:
        if summary.frames == 5:
            stop.signal = signal.SIGHUP

    got = video_job.annotate_video(
        "demo", None, library.build_detector(bundled, "haar"), DisplayOptions(), stop=stop, progress=halt
    )
    assert got.summary.frames == 5
    assert "Stopped after 5 frames" in got.notes[0]

    class Closed(BaseException):
        """Raised as Streamlit does to end the script of a reloaded page."""

    def close(*_: object) -> None:
        raise Closed

    with pytest.raises(Closed):
        video_job.annotate_video("demo", None, library.build_detector(bundled, "haar"), DisplayOptions(), progress=close)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_a_video_with_its_own_remedy(bundled: library.ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OutputError("annotated.mp4 cannot be written: the frame before is kept.") from OSError(28, "No space left on device")

    monkeypatch.setattr(video_job.VideoSink, "write", fail)
    with pytest.raises(OutputError, match=r"^The annotated video of my\.mp4 cannot be stored .*\(No space left on device\)"):
        video_job.annotate_video("my.mp4", None, library.build_detector(bundled, "haar"), DisplayOptions())


def test_long_videos_are_bounded(bundled: library.ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_job, "MAX_FRAMES", 10)
    got = video_job.annotate_video("demo", None, library.build_detector(bundled, "haar", detect_every=5), DisplayOptions())
    assert got.summary.frames == 10
    assert "Only the first 10 frames were processed" in got.notes[0]


def test_live_session_detects_tracks_and_resets(bundled: library.ModelFile) -> None:
    session = LiveSession(bundled, "haar", DisplayOptions())
    for index in range(240, 256):
        time.sleep(0.04)  # a person counts after a third of a second
        got = session.process(jpeg(demo.draw(index)))
        session.wait()
    assert got["size"] == [640, 480]
    assert got["counts"]["with a mask"] >= 1
    assert got["people"]["without a mask"] >= 1
    assert {"label", "box", "score", "track", "name", "symbol", "colour"} <= set(got["faces"][0])
    assert got["ms"]["total"] > 0
    session.configure(bundled, "haar", DisplayOptions(threshold=1.0, hide_faces=True))
    got = session.process(jpeg(demo.draw(256)))
    assert set(got["counts"]) == {"unsure"}
    assert len(got["hidden"]) >= len(got["faces"])
    session.reset()
    assert session.process(jpeg(demo.draw(257)))["people"] == {}
    for content in (b"", b"no picture"):
        with pytest.raises(SourceError, match=r"^The picture "):
            session.process(content)


def post(token: str, *parts: bytes | None) -> tuple[int, dict[str, object]]:
    """Return the status and body of the endpoint for a picture that arrives in parts. None: the client disconnects."""
    messages = [
        {"type": "http.disconnect"} if part is None else {"type": "http.request", "body": part, "more_body": True} for part in parts
    ] + [{"type": "http.request"}]

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    scope = {"type": "http", "method": "POST", "path_params": {"token": token}, "headers": []}
    reply = asyncio.run(live_endpoint(Request(scope, receive)))
    return reply.status_code, json.loads(bytes(reply.body))


def test_endpoint_bounds_and_refuses(bundled: library.ModelFile) -> None:
    token = SESSIONS.open(LiveSession(bundled, "haar", DisplayOptions()))
    picture = jpeg(demo.draw(240))
    status, got = post(token, picture[:1000], picture[1000:])
    assert status == 200
    assert got["size"] == [640, 480]
    assert post(token, b"no picture") == (400, {"error": "The picture is not a picture that OpenCV can decode, or is damaged."})
    assert post(token, *[bytes(600_000)] * 4) == (413, {"error": "The picture is larger than 2,000,000 bytes."})
    assert post("guessed", picture)[0] == 404
    # A page that is closed while it sends leaves no traceback in the log.
    assert post(token, picture[:1000], None)[0] == 400


def two_heads(tile: int) -> Image:
    """Return a picture of two heads of the built-in clip, with or without masks by `tile`."""
    tiles, _, _, outline = demo._atlas()
    image = demo._wall().copy()
    for left in (60, 340):
        demo._paste(image, tiles[tile], outline, left, 80, 240)
    return image


def live_labels(session: LiveSession, pictures: Sequence[Image], rate: float) -> list[list[str]]:
    """Return the labels of the live view for pictures at `rate` frames/s, from left to right."""
    shown = []
    for number, picture in enumerate(pictures):
        faces = session.process(jpeg(picture), 100 + number / rate)["faces"]
        session.wait()
        shown.append([face["label"] for face in sorted(faces, key=lambda face: face["box"][0])])
    return shown


def test_live_page_shows_a_mask_that_is_taken_off_within_a_second(bundled: library.ModelFile) -> None:
    """Checked at 4 frames/s, the rate of a slow computer."""
    masked, bare = (two_heads(tile) for tile in (0, 3))
    shown = live_labels(LiveSession(bundled, "haar", DisplayOptions()), [masked] * 12 + [bare] * 8, 4)
    assert shown[11] == ["with_mask"] * 2
    assert shown[16:] == [["without_mask"] * 2] * 4


def test_live_page_counts_people_after_a_while(bundled: library.ModelFile) -> None:
    session = LiveSession(bundled, "haar", DisplayOptions())
    people = []
    for number in range(6):
        people.append(session.process(jpeg(two_heads(0)), number / 4)["people"])
        session.wait()
    assert people[0] == {}
    assert people[-1] == {"with a mask": 2}


def test_live_page_of_real_people(bundled: library.ModelFile, data_dir: Path) -> None:
    """Four people put masks on. Played backwards, they take them off."""
    source = open_source(str(data_dir / "clips" / "four_people_putting_masks_on.mp4"))
    pictures = [frame.image for frame in source.frames() if frame.index % 6 == 0]
    source.close()
    detector = MaskDetector()
    shown = live_labels(LiveSession(bundled, "haar", DisplayOptions()), pictures[::-1], 25 / 6)
    # From a second after the last mask came off.
    single = [[face.label for face in detector(picture)] for picture in pictures[::-1]]
    bare = next(number for number, labels in enumerate(single) if labels.count("without_mask") == 4)
    assert all(labels.count("with_mask") == 0 for labels in shown[bare + 5 :])


def test_live_sessions_are_bounded(bundled: library.ModelFile) -> None:
    sessions = LiveSessions()
    tokens = [sessions.open(LiveSession(bundled, "haar", DisplayOptions())) for _ in range(MAX_SESSIONS + 1)]
    assert sessions.find(tokens[0]) is None
    assert sessions.find(tokens[-1]) is not None
    assert sessions.find("") is None
    assert len(set(tokens)) == len(tokens)


def test_committed_reports_are_read() -> None:
    kinds = {report.kind: report for report in reports.committed_reports()}
    assert {"speed", "accuracy"} <= set(kinds)
    assert all(report.rows() for report in kinds.values())
    assert reports.bundled_figures()[0]["model"].endswith(".onnx")
    assert charts.frontier([(10, 0.5), (20, 0.4), (30, 0.6), (10, 0.5)]) == {0, 2, 3}
    points = kinds["accuracy"].points()
    assert len(charts.frontier_chart(points)["data"]["values"]) == len(points)
    assert charts.speed_chart(kinds["speed"].speeds())["data"]["values"]


LARGE_NUMBER = b'{"schema": "maskedge.compare/1", "rows": [{"name": "haar", "f1": 1, "milliseconds": 1' + 400 * b"0" + b"}]}"


def test_foreign_reports_are_refused() -> None:
    for content, words in (
        (b"{", "is not a JSON file"),
        (b"[1]", "is not a supported report"),
        (b'{"schema": "maskedge.training/1"}', r"schema maskedge\.training/1"),
        (b'{"schema": "maskedge.speed/3", "pipelines": []}', "has version 3 of maskedge.speed"),
        (b"[" * 100_000, "is not a JSON file"),
        (b'{"schema": "maskedge.speed/1", "pipelines": [{}]}', "is an incomplete report"),
        (b'{"schema": "maskedge.speed/1", "pipelines": [], "facts": []}', "is an incomplete report"),
        (LARGE_NUMBER, "is an incomplete report"),
        (b" " * (reports.MAX_BYTES + 1), "a report has 20 at most"),
    ):
        with pytest.raises(UsageError, match=words):
            reports.read_report("mine.json", content)


def test_names_of_reports_are_unique_and_unknown_figures_are_dashes(bundled: library.ModelFile) -> None:
    rows = [row for report in reports.committed_reports() for row in report.rows()]
    names = [(report.kind, row["name"]) for report in reports.committed_reports() for row in report.rows()]
    assert len(set(names)) == len(names)
    assert any(row["name"].endswith("(eager PyTorch)") for row in rows)
    assert all(isinstance(value, str) for row in reports.bundled_figures() for value in row.values())
    assert reports.UNKNOWN in {value for row in reports.bundled_figures() for value in row.values()}
    assert all(name in library.detector_help() for name in detector_names())
    assert "OpenCV" not in library.detector_help(["haar", "cnn"])
    detector = library.installed_models()[1]
    assert detector.kind == "detector"
    assert models._best_point(detector.read_card())["masked_found"] > 0.9  # type: ignore[index]
    assert {part["name"] for part in bundled.read_card()["evaluations"]} <= models._SETS.keys()


def test_labels_of_points_do_not_cover_one_another() -> None:
    point = {"report": "committed", "name": "cnn, edgenet", "milliseconds": 5.0, "f1": 0.9}
    near = [
        point,
        point | {"milliseconds": 6.0},
        point | {"milliseconds": 6.5},
        point | {"name": "original (x)", "milliseconds": 50.0},
    ]
    assert charts._label_places(near) == ["left above", "left below", "", "right above"]
    assert charts._label_places([]) == []
    # Points of different reports are not compared.
    chart = charts.frontier_chart([point, point | {"report": "mine", "milliseconds": 9.0}])
    assert {value["kind"] for value in chart["data"]["values"]} == {"Pareto-optimal"}


def test_captions_do_not_cover_one_another() -> None:
    taken: list[tuple[int, int, int, int]] = []
    for box, expected in (
        ((100, 100, 150, 150), (100, 80, 180, 100)),
        ((120, 105, 170, 160), (120, 160, 200, 180)),
        ((100, 5, 150, 60), (100, 60, 180, 80)),
        ((600, 100, 640, 150), (560, 80, 640, 100)),
        ((0, -50, 640, 490), (0, 0, 80, 20)),
    ):
        taken.append(_place(box, (80, 20), (640, 480), taken))
        assert taken[-1] == expected


def test_charts_of_a_card(bundled: library.ModelFile) -> None:
    part = bundled.read_card()["evaluations"][0]
    chart = charts.confusion_chart(bundled.read_card()["labels"], part["confusion"])
    assert sum(row["count"] for row in chart["data"]["values"]) == part["pictures"]
    bins = [{"confidence": None, "accuracy": None, "count": 0}, {"confidence": 0.9, "accuracy": 0.8, "count": 5}]
    assert len(charts.calibration_chart(bins)["layer"][2]["data"]["values"]) == 1


def test_installed_models_lie_in_the_package(bundled: library.ModelFile) -> None:
    assert bundled.path == MODELS / "edgenet.onnx"
    with bundled.file() as path:
        assert path == bundled.path


def test_taken_port_and_foreign_address_are_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="choose another --port"):
            check_port("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UsageError, match="cannot be served"):
        check_port("203.0.113.7", 8501)
    for host, own in (
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
    ):
        assert resolves_to_loopback(host) is own, host
    for host in ("a..b", "..", "a" * 100):
        with pytest.raises(UsageError, match=r"the host name is not valid\): choose another --port, or another --host"):
            check_port(host, 8501)


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        (None, True),
        ("https://app.example", True),
        ("http://localhost:9000", True),
        ("https://192.0.2.7:8443", True),
        ("http://evil.example", False),
        ("http://203.0.113.7", False),
        ("http://[::1]:9000", False),
        ("http://[", False),
        ("null", False),
    ],
)
def test_pages_of_others_are_refused_before_streamlit_asks_for_the_public_address(
    origin: str | None, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamlit.net_util.get_internal_ip", lambda: "192.0.2.7")
    reached: list[str] = []
    sent: list[Message] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["type"])

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"app.example"), *([(b"origin", origin.encode())] if origin else [])]
    asyncio.run(OwnPagesOnly(inner)({"type": "websocket", "headers": headers}, receive, send))
    assert (reached, [message["type"] for message in sent]) == ((["websocket"], []) if own else ([], ["websocket.close"]))


def test_other_sites_may_not_show_the_page_in_a_frame() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(OwnPagesOnly(PlainTextResponse("page"))({"type": "http", "method": "GET", "headers": []}, receive, send))
    headers = Headers(raw=sent[0]["headers"])
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.slow
def test_quick_benchmark_writes_a_report_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorter = ("--frames", "4", "--rounds", "1", "--no-matrix", "--live-seconds", "0")
    monkeypatch.setattr(reports, "QUICK", ("speed", "--quick", *shorter))
    process = reports.start_quick(tmp_path / "speed.json")
    _, complaint = process.communicate(timeout=600)
    assert process.returncode == 0, complaint
    report = reports.read_report("this machine", (tmp_path / "speed.json").read_bytes())
    assert len(report.speeds()) >= 2
    assert all(row["rate"] > 0 for row in report.speeds())
    assert "cores" in report.machine
