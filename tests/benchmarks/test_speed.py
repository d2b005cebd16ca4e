from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.support import ROOT
from maskedge import SourceError
from maskedge.modelfile.contract import MODELS, read_catalogue
from maskedge.modelfile.precision import bundled_classifier
from maskedge.support.timing import HISTORY
from maskedge.types import Image
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors import detector_names
from maskedge.vision.pipeline import DETECT_EVERY
from maskedge_bench.cli.speed import MOST_FRAMES
from maskedge_bench.conditions import warnings
from maskedge_bench.contestants.eager import EagerClassifier
from maskedge_bench.contestants.pipelines import BASELINE_MODEL, ORIGINAL_EAGER, PIPELINES
from maskedge_bench.report_schemas import validate
from maskedge_bench.speed.composed_frames import compose, load_frames
from maskedge_bench.speed.cost_model import fit_cost
from maskedge_bench.speed.matrix import Axes, Matrix, name_of
from maskedge_bench.speed.measure import Plan, SpeedRun, _fewer_faces, measure
from maskedge_bench.speed.tables import nets_table, pipelines_table

RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def speed_file(invoke, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    """The report of a short run of everything but the matrix."""
    path = tmp_path_factory.mktemp("speed") / "speed.json"
    options = ("--quick", "--frames", "6", "--no-matrix", "--live-seconds", "0.5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maskedge_bench.speed.roofline._ROUNDS", 1)
        patch.setattr("maskedge_bench.speed.roofline._SECONDS", 0.01)
        done = invoke("edge-bench", "speed", *options, "--json", path)
    assert done.returncode == 0, done.stderr
    assert pipelines_table(json.loads(path.read_text())) in done.stdout
    return path


@pytest.fixture
def report(speed_file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(speed_file.read_text())
    return content


def test_report(report: dict[str, Any]) -> None:
    validate(report)
    rows = {row["name"]: row for row in report["pipelines"]}
    assert {pipeline.name for pipeline in PIPELINES} <= set(rows)
    original, default = rows[PIPELINES[0].name], rows["default (haar, edgenet)"]
    assert original["ratio_to_baseline"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert default["model_sha256"] == read_catalogue(MODELS)[bundled_classifier().name]["sha256"]
    for row in rows.values():
        assert set(row["stages_ms"]) == {"resize", "detect", "classify", "track", "total"}
        assert row["faces_a_frame"] > 0
        assert len(row["quantiles_ms"]) == 101
        assert row["quantiles_ms"] == sorted(row["quantiles_ms"])
    assert [row["name"] for row in report["live"]] == [pipeline.name for pipeline in PIPELINES]
    for row in report["live"]:
        assert row["captured"] == row["processed"] + row["dropped"]
    assert {"capture", "draw", "events"} <= set(report["chain"][0]["stages_ms"])
    assert {"haar", "cnn"} <= {row["name"].split(",")[0].removeprefix("detect: ") for row in report["limits"]["rows"]}
    assert report["facts"]["cores"] > 0
    assert not report["partial"]


def test_matrix_and_cost() -> None:
    axes = Axes(("cnn",), sizes=((160, 120), (320, 240)), faces=(0, 1), threads=(1,), detect_every=(1,), full=True)
    matrix = Matrix(axes, 0.01)
    matrix.warm_up()
    matrix.run(2)
    rows = matrix.rows()
    # Of each size and number of faces the original pipeline stands beside ours.
    assert len(rows) == 8
    assert len({name_of(row) for row in rows}) == 8
    fits = fit_cost(rows)
    assert [fit["pipeline"] for fit in fits] == ["haar-stock, seednet.onnx", f"cnn, {bundled_classifier().name}"]
    assert all(min(fit["fixed_ms"], fit["face_ms"], fit["megapixel_ms"]) >= 0 for fit in fits)


def test_frames_of_a_cell_are_a_multiple_of_the_frames_per_detection() -> None:
    axes = Axes(("cnn",), sizes=((160, 120),), faces=(1,), threads=(1,), detect_every=(8, 40, 100), full=True)
    matrix = Matrix(axes, 100.0)
    matrix.warm_up()
    assert dict(zip((cell.detect_every for cell in matrix.cells), matrix._counts, strict=True)) == {1: 60, 8: 56, 40: 40, 100: 100}


def test_no_more_frames_are_measured_than_the_clock_keeps() -> None:
    assert MOST_FRAMES == HISTORY


def test_cost_is_found_again() -> None:
    cells = [
        {
            "detector": "haar", "model": "m", "detect_every": 1, "threads": 1, "faces_a_frame": faces, "size": size,
            "stages_ms": {"total": {"mean": 2 + 0.5 * faces + 30 * size[0] * size[1] / 1e6}},
        }
        for faces in (0, 4, 16)
        for size in ((320, 240), (1280, 720))
    ]  # fmt: skip
    (fit,) = fit_cost(cells)
    assert (fit["fixed_ms"], fit["face_ms"], fit["megapixel_ms"]) == pytest.approx((2, 0.5, 30), abs=0.01)


def test_pipelines() -> None:
    assert PIPELINES[0].detector == "haar-stock"
    assert PIPELINES[0].model == BASELINE_MODEL
    assert BASELINE_MODEL.is_file()
    assert [pipeline.name for pipeline in PIPELINES[1:]] == ["default (haar, edgenet)", "cnn, edgenet"]
    assert {pipeline.detect_every for pipeline in PIPELINES[1:]} == {DETECT_EVERY}
    assert {pipeline.detector for pipeline in PIPELINES} == set(detector_names())


def test_eager_pipeline_runs_the_network_in_pytorch(frames: list[Image]) -> None:
    detector = ORIGINAL_EAGER.open()
    classifier = detector.classifier
    assert isinstance(classifier, EagerClassifier)
    classifier._session = None  # type: ignore[assignment]  # a call of ONNX Runtime would fail
    batches: list[int] = []
    classifier._net.register_forward_hook(lambda net, inputs, outputs: batches.append(len(outputs)))
    assert detector(frames[0])
    assert sum(batches) > 0


def test_eager_classifier_has_the_outputs_of_the_file() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    for path, net in ((BASELINE_MODEL, "seednet"), (MODELS / "edgenet.onnx", "edgenet")):
        expected, expected_places = MaskClassifier(path).classify_and_locate_crops(crops)
        probabilities, places = EagerClassifier(path, net).classify_and_locate_crops(crops)
        assert probabilities.shape == expected.shape
        assert probabilities.sum(axis=1) == pytest.approx(1)
        assert np.shape(places) == np.shape(expected_places)


def test_pipelines_that_find_few_faces_have_a_note() -> None:
    rows = [{"name": name, "faces_a_frame": faces} for name, faces in (("original", 4.0), ("quick", 3.9), ("blind", 0.5))]
    (note,) = _fewer_faces(rows)
    assert note == "blind found 0.5 faces per frame, the original pipeline 4.0: it had fewer faces to classify."
    assert _fewer_faces([]) == []


def test_stopped_run_is_reported_as_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(run: SpeedRun) -> None:
        raise KeyboardInterrupt

    plan = replace(Plan(frames=3, axes=None).shortened(), rounds=1)
    monkeypatch.setattr(SpeedRun, "_measure_matrix", stop)
    report = measure(plan)
    validate(report)
    assert report["partial"]
    assert report["title"].endswith("(partial)")
    assert report["rounds"] == 1
    monkeypatch.setattr(SpeedRun, "_measure_pipelines", stop)
    with pytest.raises(KeyboardInterrupt):
        measure(plan)


def test_frames() -> None:
    frames, notes = load_frames("demo", 3, 2)
    assert [frame.index for frame in frames] == [2, 3, 4]
    assert notes == []
    assert all(frame.size == (320, 240) for frame in compose((320, 240), 4))


def test_bad_source_and_output(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SourceError):
        load_frames(str(tmp_path), 5)
    for name, side in (("a", 200), ("b", 100)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((side, 200, 3), np.uint8))
    frames, notes = load_frames(str(tmp_path), 5)
    assert len(frames) == 2
    assert "differ in size" in notes[0]
    assert "has 2 of the requested 5 frames" in notes[1]
    done = command("edge-bench", "speed", "--json", tmp_path / "none" / "speed.json")
    assert done.returncode == 5
    assert "does not exist" in done.stderr


def test_report_compare_and_check(invoke, speed_file: Path, report: dict[str, Any], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    page = tmp_path / "page.html"
    compared = tmp_path / "compare.json"
    done = invoke("edge-bench", "compare", "--accuracy", RESULTS / "accuracy.json", "--speed", speed_file, "--json", compared)
    assert done.returncode == 0, done.stderr
    assert any(row["efficient"] for row in json.loads(compared.read_text())["rows"])
    done = invoke("edge-bench", "report", speed_file, speed_file, compared, "-o", page)
    assert done.returncode == 0, done.stderr
    content = page.read_text()
    assert "Side by side" in content
    assert content.count("<figure>") >= 4
    assert "http" not in content
    assert invoke("edge-bench", "check", speed_file, "--baseline", speed_file).returncode == 0
    for row in report["pipelines"]:
        row["ratio_to_baseline"] = {name: 2 * value for name, value in row["ratio_to_baseline"].items()}
    better = tmp_path / "better.json"
    better.write_text(json.dumps(report))
    done = invoke("edge-bench", "check", speed_file, "--baseline", better)
    assert done.returncode == 1
    assert "worse: frames/s of default" in done.stdout
    # A ratio of nothing, and another clip.
    report["pipelines"][2]["cpu_to_baseline"] = {"median": 0.0, "min": 0.0, "max": 0.0}
    report["source"]["name"] = "other.mp4"
    better.write_text(json.dumps(report))
    done = invoke("edge-bench", "check", speed_file, "--baseline", better)
    assert "of other.mp4 at 640 x 480" in done.stdout
    assert "0.00 ->" in done.stdout
    report["facts"]["machine"] = "another"
    better.write_text(json.dumps(report))
    done = invoke("edge-bench", "check", speed_file, "--baseline", better)
    assert done.returncode == 2
    assert "--any-machine" in done.stderr
    report["source"]["size"] = []
    better.write_text(json.dumps(report))
    done = invoke("edge-bench", "report", better)
    assert done.returncode == 2
    assert "source.size must be a list of 2" in done.stderr
    better.write_text('{"schema": "maskedge.speed/1"}')
    done = invoke("edge-bench", "check", speed_file, "--baseline", better)
    assert done.returncode == 2
    assert "older schema" in done.stderr


def test_nets(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = command("edge-bench", "nets", MODELS / "edgenet.onnx", "--rounds", "1", "--json", tmp_path / "nets.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "nets.json").read_text())
    validate(report)
    assert {row["engine"] for row in report["nets"]} == {"onnxruntime", "pytorch"}


def test_only_throttling_of_the_run_is_named() -> None:
    before = {"throttled_now": [], "throttled_since_start": ["under_voltage"]}
    after = {"throttled_now": ["soft_temperature_limit"], "throttled_since_start": ["under_voltage", "soft_temperature_limit"]}
    assert warnings(4, before, after, {})[0].startswith("The machine throttled its clock (soft temperature limit): ")
    assert warnings(4, before, before, {}) == []


def test_the_short_version_keeps_what_is_chosen() -> None:
    plan = Plan(axes=Axes(sizes=((1920, 1080),), detect_every=(8,)), skip=30).shortened()
    assert plan.axes is not None
    assert (plan.skip, plan.axes.sizes, plan.axes.detect_every) == (30, ((1920, 1080),), (8,))
    assert (plan.axes.faces, plan.axes.threads) == ((0, 4), (1,))


def test_files_of_one_network_are_told_apart() -> None:
    report = json.loads((RESULTS / "nets.json").read_text())
    row = next(row for row in report["nets"] if row["engine"] == "onnxruntime" and row["net"] == "edgenet")
    report["nets"].append(row | {"model": "mine/edgenet.onnx"})
    table = nets_table(report)
    assert "| edgenet (edgenet.onnx) |" in table
    assert "| edgenet (mine/edgenet.onnx) |" in table
    assert "| edgenet in eager PyTorch |" in table


@pytest.mark.parametrize("arguments", [("nets",), ("roofline",), ("speed", "--model")])
def test_a_model_in_two_spellings_is_refused(invoke, arguments: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    name, *option = arguments
    other = MODELS / ".." / MODELS.name / "edgenet.onnx"
    done = invoke("edge-bench", name, *option, MODELS / "edgenet.onnx", *option, other)
    assert done.returncode == 2
    assert done.stderr == "error: the model edgenet.onnx is given twice: give each once.\n"
