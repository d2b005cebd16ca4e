"""Face thresholds that a classifier file carries by detector, domain and name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.support import METADATA, write_model
from maskedge import MaskDetector, ModelError, UsageError
from maskedge.config import load_config
from maskedge.modelfile.contract import default_model, origin_digest
from maskedge.runtime.build import build_run, open_detector
from maskedge.sources import open_source
from maskedge.vision.classifier import MaskClassifier
from maskedge.vision.detectors import load_detector
from maskedge.vision.detectors.network import FUSED_THRESHOLD
from maskedge.vision.model_card import render_card
from maskedge.vision.worker import DetectionWorker


def domain(**points: float) -> dict[str, object]:
    curve = [
        {"face_threshold": bound, "precision": bound, "recall": 1 - bound, "f1": 0.5, "false_alarms_a_background": None}
        for bound in sorted({*points.values(), 0.25})
    ]
    return {
        "points": points,
        "curve": curve,
        "weights": {"^ilc": 2},
        "sources": {"ilc": 7},
        "pictures": 7,
        "faces": 9,
        "backgrounds": 0,
    }


CARRIED = {"haar": {"webcam": domain(balanced=0.61, high=0.83, recall=0.37), "crowds": domain(balanced=0.55)}}


def model(path: Path, carried: object = CARRIED) -> Path:
    card = json.dumps({"operating_points": carried})
    return write_model(path, metadata=METADATA | {"maskedge.labels": '["with_mask", "not_a_face"]', "maskedge.card": card})


def test_balanced_of_webcam_pictures_is_the_default(tmp_path: Path) -> None:
    path = model(tmp_path / "own.onnx")
    assert MaskDetector(path).face_threshold == 0.61
    assert MaskDetector(path, operating_point="high").face_threshold == 0.83
    assert MaskDetector(path, operating_point="recall", domain="webcam").face_threshold == 0.37
    assert MaskDetector(path, domain="crowds").face_threshold == 0.55
    assert MaskDetector(path, load_detector("haar")).face_threshold == 0.61, "a loaded detector keeps its name"


def test_a_point_that_the_file_lacks_changes_nothing(tmp_path: Path) -> None:
    detector = MaskDetector(model(tmp_path / "own.onnx"), operating_point="high")
    with pytest.raises(UsageError, match="no measurement"):
        detector.set_face_threshold(None, "recall", "crowds")
    assert detector.face_threshold == 0.83
    assert detector.variant().face_threshold == 0.83


def test_a_point_that_a_new_detector_lacks_is_replaced_by_the_threshold_of_its_kind(tmp_path: Path) -> None:
    detector = MaskDetector(model(tmp_path / "own.onnx"))
    worker = DetectionWorker(detector.analyzer.analyze)
    camera = detector.share(worker)
    camera.set_face_threshold(None, "high")
    detector.replace_networks(detector.variant(detector="cnn"))
    camera(np.zeros((240, 320, 3), np.uint8))
    assert (camera.face_threshold, camera.thresholds.fused) == (FUSED_THRESHOLD, True)
    detector.replace_networks(detector.variant(detector="haar"))
    camera(np.zeros((240, 320, 3), np.uint8))
    assert (camera.face_threshold, camera.thresholds.fused) == (0.83, False)
    worker.close()


def test_an_explicit_threshold_wins(tmp_path: Path) -> None:
    path = model(tmp_path / "own.onnx")
    assert MaskDetector(path, operating_point="high", face_threshold=0.2).face_threshold == 0.2


def test_a_file_without_points_of_the_detector_keeps_its_threshold(tmp_path: Path) -> None:
    path = model(tmp_path / "own.onnx")
    assert MaskDetector(path, "cnn").face_threshold == FUSED_THRESHOLD
    with pytest.raises(UsageError, match=r"own\.onnx has no measurement of the operating point 'high' for the detector cnn"):
        MaskDetector(path, "cnn", operating_point="high")
    with pytest.raises(UsageError, match="'recall' for the detector haar and crowds pictures"):
        MaskDetector(path, operating_point="recall", domain="crowds")
    with pytest.raises(UsageError, match="no measurement of operating points"):
        MaskDetector(path, "cnn", domain="crowds")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match=r"detect\.operating_point is one of balanced, high, recall"):
        MaskDetector(operating_point="low")
    with pytest.raises(UsageError, match=r"detect\.domain is one of webcam, crowds"):
        MaskDetector(domain="street")


@pytest.mark.parametrize(
    "carried",
    [
        [],
        {"haar": 0.5},
        {"haar": {"webcam": 0.5}},
        {"haar": {"webcam": {"points": {"balanced": 1.5}}}},
        {"haar": {"webcam": {"points": {"balanced": True}}}},
        {"haar": {"webcam": {"points": ["balanced"]}}},
    ],
)
def test_points_of_another_form_are_refused(tmp_path: Path, carried: object) -> None:
    with pytest.raises(ModelError, match=r"operating_points of maskedge\.card"):
        MaskClassifier(model(tmp_path / "own.onnx", carried))


def test_the_card_shows_the_curve(tmp_path: Path) -> None:
    card = render_card(model(tmp_path / "own.onnx"))
    assert "### haar, webcam" in card
    assert "| 0.83 | **high** | 0.8300 | 0.1700 | 0.5000 | - |" in card
    assert "| 0.25 | - | 0.2500 |" in card
    assert "`^ilc` x 2" in card
    assert "Operating points" not in render_card(write_model(tmp_path / "plain.onnx"))


def test_the_origin_is_that_of_the_float32_file() -> None:
    content = default_model().read_bytes()
    own = origin_digest({}, content)
    assert origin_digest({"quantisation": {"of": own}}, b"smaller") == own
    assert origin_digest({"annotated": own, "quantisation": {"of": "later"}}, b"smaller") == own


def test_a_reload_changes_the_point_and_keeps_the_old_one_if_the_model_lacks_the_new_one(tmp_path: Path) -> None:
    path, file = model(tmp_path / "own.onnx"), tmp_path / "edge.toml"

    def read(detect: str):  # type: ignore[no-untyped-def]
        file.write_text(f'[model]\nfile = "{path}"\n[detect]\n{detect}')
        return load_config(file, {}).config

    config = read('operating_point = "high"')
    detector, source = open_detector(config), open_source("demo")
    run = build_run(config, source, detector, [])
    assert detector.face_threshold == 0.83
    at_once, later = run.change(read('operating_point = "recall"'))
    assert (at_once, later, detector.face_threshold) == (["detect.operating_point"], [], 0.37)
    assert run.context.state.snapshot()["settings"]["face_threshold"] == 0.37
    with pytest.raises(UsageError, match="no measurement"):
        run.change(read('operating_point = "recall"\ndomain = "crowds"\nevery = 9'))
    assert (detector.face_threshold, detector.detect_every) == (0.37, 5), "nothing changes"
    run.change(read("face_threshold = 0.7"))
    assert detector.face_threshold == 0.7
    source.close()
