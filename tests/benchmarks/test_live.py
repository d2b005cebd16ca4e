from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maskedge import UsageError
from maskedge.support import timing
from maskedge.vision.pipeline import MaskDetector
from maskedge_bench.live.measure import measure_live
from maskedge_bench.live.run import LivePlan, LiveRun, Scene, measure
from maskedge_bench.live.source import paced_source
from maskedge_bench.live.tables import live_tables
from maskedge_bench.report_schemas import validate
from maskedge_bench.speed.composed_frames import compose

SMALL = LivePlan(detectors=("cnn",), sizes=((320, 240),), faces=(1,), rates=(30.0,), streams=(2,), seconds=0.5)


@pytest.fixture(scope="module")
def live_file(command, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    """The report of a short run."""
    path = tmp_path_factory.mktemp("live") / "live.json"
    options = ("--quick", "--detector", "cnn", "--size", "320x240", "--faces", "2", "--seconds", "0.5", "--streams", "2")
    done = command("edge-bench", "live", *options, "--json", path)
    assert done.returncode == 0, done.stderr
    assert live_tables(json.loads(path.read_text())) in done.stdout
    return path


def test_report(live_file: Path) -> None:
    report: dict[str, Any] = json.loads(live_file.read_text())
    validate(report)
    assert report["quick"]
    assert [(row["mode"], row["streams"]) for row in report["rows"]] == [("asynchronous", 1), ("synchronous", 1)]
    assert {row["streams"] for row in report["streams"]} == {2}
    for row in (*report["rows"], *report["streams"]):
        assert row["captured"] == row["processed"] + row["dropped"]
        assert row["age_ms"]["p50"] <= row["age_ms"]["p99"] <= row["age_ms"]["max"]
        assert row["detections"] > 0
        assert (row["detection_age_ms"] is None) == (row["mode"] == "synchronous")
        assert row["cpu_share"] > 0


def test_report_is_shown(invoke, live_file: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    page = tmp_path / "page.html"
    assert invoke("edge-bench", "report", live_file, "-o", page).returncode == 0
    assert "frame intervals" in page.read_text()


def test_source_delivers_the_newest_frame() -> None:
    source = paced_source([frame.image for frame in compose((64, 64), 0)], 1000, 0.05)
    given = list(source.frames())
    source.close()
    # A frame whose interval passes before its turn is counted as dropped, and the next one delivered.
    assert source.captured >= 50
    assert len(given) + source.dropped == source.captured
    assert [frame.index for frame in given] == sorted({frame.index for frame in given})


def test_one_property_of_the_scene_varies_at_a_time() -> None:
    scenes = LivePlan().scenes
    usual = Scene((640, 480), 4, 30.0)
    assert len(scenes) == len(set(scenes)) == 7
    assert all((one.size != usual.size) + (one.faces != usual.faces) + (one.rate != usual.rate) <= 1 for one in scenes)
    assert len(LivePlan(full=True).scenes) == 24
    assert LivePlan().shortened().scenes == [Scene((640, 480), 0, 30.0), usual]
    assert LivePlan(faces=(2,), sizes=((320, 240),), rates=(5.0,)).shortened().scenes == [Scene((320, 240), 2, 5.0)]


def test_cameras_are_added_until_frames_are_dropped() -> None:
    # No computer processes a hundred thousand frames per second.
    run = LiveRun(replace(SMALL, rates=(100_000.0,), streams=(1, 2, 4), modes=("synchronous",), seconds=0.01))
    run.run()
    assert [row["streams"] for row in run.streams] == [1]
    assert run.streams[0]["dropped"] > 0


def test_frames_that_the_clock_forgets_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "HISTORY", 5)
    lengths = []

    def summarise(values: list[float]) -> dict[str, float]:
        lengths.append(len(values))
        return timing.summarise(values)

    monkeypatch.setattr("maskedge_bench.live.measure.summarise", summarise)
    detector = MaskDetector(detector="cnn", detect_every=1)
    row = measure_live([detector], compose((160, 120), 1), 30, 1, "synchronous")
    assert row["processed"] == row["captured"] - row["dropped"] > 5
    assert row["detections"] > 5
    assert lengths == 3 * [row["processed"]]
    assert row["faces_a_frame"] <= 1


def test_failure_of_a_pipeline_ends_the_run() -> None:
    detector = MaskDetector(detector="cnn")
    frames = compose((64, 64), 0)
    broken = replace(frames[0], image=frames[0].image[0, 0])
    with pytest.raises(UsageError, match="picture"):
        measure_live([detector], [*frames[:4], *[broken] * 16], 100, 0.2, "synchronous")


def test_stopped_run_is_reported_as_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveRun, "_measure_streams", stop)
    report = measure(replace(SMALL, modes=("asynchronous",)))
    validate(report)
    assert report["partial"]
    assert len(report["rows"]) == 1
    assert report["streams"] == []
    monkeypatch.setattr(LiveRun, "_measure", stop)
    with pytest.raises(KeyboardInterrupt):
        measure(SMALL)


@pytest.mark.parametrize("streams", ["x", "0,2", "1,100", ""])
def test_invalid_numbers_of_cameras(invoke, streams: str) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-bench", "live", "--streams", streams)
    assert done.returncode == 2
    assert "numbers of cameras" in done.stderr


def test_unknown_detector(invoke) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-bench", "live", "--detector", "none")
    assert done.returncode == 2
    assert "there is no detector none" in done.stderr
