"""Named cameras in this process: a reload, cameras that fail or hang, and the end."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest

from helpers.cameras import LIVE_DEMO
from helpers.streams import until, write_video
from maskedge import MaskDetector
from maskedge.config import Loaded, load_config
from maskedge.errors import OutputError
from maskedge.runtime import camera as opening
from maskedge.runtime import cameras as supervision
from maskedge.runtime.camera import CameraThread, SharedParts
from maskedge.runtime.cameras import Cameras
from maskedge.runtime.context import StopRequest
from maskedge.runtime.summary import Summary
from maskedge.sources import Source, SourceConfig, demo, open_source
from maskedge.vision.detectors import load_detector
from maskedge.vision.worker import DetectionWorker


def load(folder: Path, *tables: str) -> Loaded:
    """Load an edge.toml of named cameras."""
    file = folder / "edge.toml"
    file.write_text("[output]\nshow = false\n" + "".join(f"[[camera]]\n{table}\n" for table in tables), encoding="utf-8")
    return load_config(file, {})


@contextmanager
def running(loaded: Loaded, stop: StopRequest) -> Iterator[Cameras]:
    """Start cameras, and supervise them on a thread until the end of the block."""
    cameras = Cameras(loaded, MaskDetector(detector="haar"), stop, lambda: load_config(loaded.file, {}))
    thread = threading.Thread(target=cameras.run)
    try:
        assert cameras.start()
        thread.start()
        yield cameras
    finally:
        cameras.stop(signal.SIGTERM)
        if thread.ident is not None:
            thread.join(20)
        cameras.close()


def test_the_outcome_of_a_reload_goes_to_those_who_asked_before_it_began() -> None:
    told: list[tuple[str, bool, str]] = []
    stop = StopRequest()
    assert not stop.take_reload()
    stop.ask_reload(lambda done, sentence: told.append(("first", done, sentence)))
    assert stop.take_reload()
    stop.ask_reload(lambda done, sentence: told.append(("second", done, sentence)))
    stop.reloaded(True, "changed line")
    assert told == [("first", True, "changed line")]
    assert stop.take_reload()
    stop.reloaded(False, "no such key")
    assert told[1:] == [("second", False, "no such key")]
    # A reload by a signal has nobody to tell.
    stop.reload = True
    assert stop.take_reload()
    stop.reloaded(True, "nothing changed")
    assert len(told) == 2
    assert not stop.reload


def test_a_camera_whose_operating_point_is_missing_leaves_its_file_closed(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames=5)
    loaded = load(tmp_path, f'name = "door"\nsource = "{clip}"\n[camera.detect]\noperating_point = "high"')
    # The bundled classifier has no operating points for a cascade of the user.
    cascade = load_detector(Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt.xml", file_type=".xml")
    detector = MaskDetector(detector=cascade)
    worker = DetectionWorker(detector.analyzer.analyze)
    camera = CameraThread(loaded.cameras[0], SharedParts(detector, worker))
    camera.start()
    assert camera.join(20)
    worker.close()
    assert "no measurement of the operating point 'high'" in str(camera.failure)
    opened = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert str(clip) not in opened
    # A camera that has ended takes every call.
    camera.stop(signal.SIGTERM)
    camera.retire()


def test_an_output_that_cannot_be_closed_keeps_nothing_else_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    class Broken:
        def close(self) -> None:
            raise RuntimeError("the display is gone")

    class Whole:
        def close(self) -> None:
            closed.append(self)

    before = set(threading.enumerate())
    with running(load(tmp_path, f'name = "door"\n{LIVE_DEMO}'), StopRequest()) as cameras:
        until(lambda: cameras.frames()[0] > 0)
        cameras._shared.outputs |= {"broken": Broken(), "whole": Whole()}
    assert "the output broken could not be closed (RuntimeError('the display is gone'))" in caplog.text
    assert len(closed) == 1
    until(lambda: not [thread for thread in set(threading.enumerate()) - before if thread.name == "detection"])


def test_a_camera_that_hangs_while_it_opens_does_not_stop_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(30)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setattr(supervision, "_START_SECONDS", 60.0)
    loads = threading.Event()

    def load_driver(config: SourceConfig) -> Source:
        if threading.current_thread().name == "camera hangs":
            assert loads.wait(60)
        return open_source(config)

    # There is no camera here whose driver hangs.
    monkeypatch.setattr(opening, "open_source", load_driver)
    door = f'name = "door"\n{LIVE_DEMO}'
    stop = StopRequest()
    outcomes: queue.Queue[tuple[bool, str]] = queue.Queue()
    with running(load(tmp_path, door), stop):
        load(tmp_path, door, f'name = "hangs"\n{LIVE_DEMO}')
        stop.ask_reload(lambda done, sentence: outcomes.put((done, sentence)))
        until(lambda: b"RELOADING=1" in manager.recv(4096))
        messages = [manager.recv(4096) for _ in range(3)]
        assert set(messages) == {b"WATCHDOG=1"}
        assert outcomes.empty(), "the camera still opens"
        loads.set()
        assert outcomes.get(timeout=60) == (True, "added hangs")
    manager.close()


def test_a_reload_that_leaves_no_camera_running_changes_nothing(tmp_path: Path) -> None:
    door = f'name = "door"\n{LIVE_DEMO}'
    stop = StopRequest()
    outcomes: queue.Queue[tuple[bool, str]] = queue.Queue()
    (tmp_path / "photo.png").write_bytes(cv2.imencode(".png", demo.draw(1))[1].tobytes())
    with running(load(tmp_path, door), stop) as cameras:
        for source, reason in (("missing.mp4", "there is no file"), ("photo.png", "is no video")):
            table = f'source = "{tmp_path / source}"'
            load(tmp_path, f'name = "hall"\n{table}', f'name = "yard"\n{table}')
            stop.ask_reload(lambda done, sentence: outcomes.put((done, sentence)))
            done, sentence = outcomes.get(timeout=60)
            assert (done, reason in sentence) == (False, True)
            assert list(cameras.contexts) == ["door"]
        # A camera that is started again keeps its counts.
        until(lambda: bool(cameras.results))
        ((_, counted),) = cameras.results
        frames = counted.frames
        load(tmp_path, door.replace("fps = 10", "fps = 20"))
        stop.ask_reload(lambda done, sentence: outcomes.put((done, sentence)))
        assert outcomes.get(timeout=60) == (True, "started again door")
        ((_, counted),) = cameras.results
        assert counted.frames >= frames
        door = door.replace("fps = 10", "fps = 20")
        # Beside a camera that runs, another may fail.
        load(tmp_path, door, f'name = "hall"\nsource = "{tmp_path / "missing.mp4"}"')
        stop.ask_reload(lambda done, sentence: outcomes.put((done, sentence)))
        assert outcomes.get(timeout=60) == (True, "added hall")


def test_a_change_that_is_taken_back_before_the_camera_has_applied_it_is_not_in_effect(tmp_path: Path) -> None:
    strict, loose = (f'name = "door"\n{LIVE_DEMO}[camera.privacy]\nanonymize = {value}' for value in ("true", "false"))
    stop = StopRequest()
    outcomes: queue.Queue[tuple[bool, str]] = queue.Queue()
    with running(load(tmp_path, strict), stop) as cameras:
        context, goes_on, applied = cameras.contexts["door"], threading.Event(), threading.Event()
        reload = context.reload

        def reload_late() -> None:
            assert goes_on.wait(30)
            reload()
            applied.set()

        context.reload = reload_late
        for table in (loose, strict):
            load(tmp_path, table)
            (camera,) = cameras._cameras.values()
            before = camera._next
            stop.ask_reload(lambda done, sentence: outcomes.put((done, sentence)))
            until(lambda: camera._next is not before)  # noqa: B023  (called in this turn)
        assert outcomes.empty(), "the camera has not applied it"
        goes_on.set()
        assert [outcomes.get(timeout=60)[0] for _ in range(2)] == [True, True]
        assert applied.is_set()
        assert context.anonymize


def test_a_reload_that_a_camera_refuses_has_failed(tmp_path: Path) -> None:
    strict, loose = (f'name = "door"\n{LIVE_DEMO}[camera.privacy]\nanonymize = {value}' for value in ("true", "false"))
    stop = StopRequest()
    outcomes: queue.Queue[tuple[bool, str]] = queue.Queue()
    with running(load(tmp_path, strict), stop) as cameras:
        built = cameras._cameras["door"]._built
        assert built is not None
        change = built.change

        def refuse(*_: object, **__: object) -> tuple[list[str], list[str]]:
            raise OutputError("the disk is full.")

        refusal = False, "the camera door stays as it was: the disk is full."
        for work, table, expected in (
            (refuse, loose, refusal),
            (change, strict, (True, "nothing changed")),  # taken back
            (refuse, loose, refusal),
            (change, loose, (True, "changed door")),
        ):
            built.change = work  # type: ignore[method-assign]
            load(tmp_path, table)
            stop.ask_reload(lambda done, sentence: outcomes.put((done, sentence)))
            assert outcomes.get(timeout=60) == expected
        assert not cameras.contexts["door"].anonymize


def test_the_counts_of_a_camera_that_is_started_again_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames=5)
    monkeypatch.setattr(opening, "_FIRST_WAIT", 0.0)
    shown = opening.CameraThread._note
    fails = iter([False, False, True])

    def fail_once(camera: CameraThread, summary: Summary) -> None:
        shown(camera, summary)
        if next(fails, False):
            raise RuntimeError("a fault of the program")

    monkeypatch.setattr(opening.CameraThread, "_note", fail_once)
    loaded = load(tmp_path, f'name = "door"\nsource = "{clip}"')
    detector = MaskDetector(detector="haar")
    worker = DetectionWorker(detector.analyzer.analyze)
    # As after a reload that starts the camera again.
    earlier = Summary("clip.mp4", True, frames=100, seconds=9.0, faces=Counter(with_mask=7), people=Counter(with_mask=1))
    camera = CameraThread(loaded.cameras[0], SharedParts(detector, worker), earlier)
    assert camera.summary is earlier
    camera.start()
    until(lambda: camera.ended)
    worker.close()
    counted = camera.summary
    assert counted is not None
    assert (counted.frames, counted.faces["with_mask"] >= 7, counted.people["with_mask"]) == (100 + 3 + 5, True, 1)
    assert counted.people.keys() == set(detector.labels)
    assert counted.seconds > 9


def test_a_reload_with_which_a_loop_fails_has_failed(tmp_path: Path) -> None:
    stop = StopRequest()
    outcomes: queue.Queue[tuple[bool, str]] = queue.Queue()
    with running(load(tmp_path, f'name = "door"\n{LIVE_DEMO}'), stop) as cameras:
        built = cameras._cameras["door"]._built
        assert built is not None

        def fail(*_: object, **__: object) -> tuple[list[str], list[str]]:
            raise RuntimeError("a fault of the program")

        built.change = fail  # type: ignore[method-assign]
        load(tmp_path, f'name = "door"\n{LIVE_DEMO}[camera.privacy]\nanonymize = true\n')
        stop.ask_reload(lambda done, sentence: outcomes.put((done, sentence)))
        assert outcomes.get(timeout=60) == (False, "the camera door stays as it was: a fault of the program")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ModuleNotFoundError("No module named 'paho'", name="paho"), r"paho is not installed: install the extra mqtt: .*\[mqtt\]"),
        (
            ImportError("libfoo.so.1: cannot open"),
            r"libfoo\.so\.1: cannot open: install the package again \(.*\), then run edge-doctor",
        ),
    ],
)
def test_a_camera_names_the_library_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: ImportError, remedy: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(opening, "build_run", refuse)
    loaded = load(tmp_path, f'name = "door"\n{LIVE_DEMO}')
    detector = MaskDetector(detector="haar")
    worker = DetectionWorker(detector.analyzer.analyze)
    camera = CameraThread(loaded.cameras[0], SharedParts(detector, worker))
    camera.start()
    assert camera.join(20)
    worker.close()
    assert re.search(remedy, str(camera.failure))
