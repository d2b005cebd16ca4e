"""A classifier without the label `not_a_face` gets a detector that is precise by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.support import METADATA, write_model
from maskedge import MaskDetector
from maskedge.modelfile.contract import MODELS
from maskedge.sources import demo
from maskedge.types import Box, Image
from maskedge.vision.detectors import adapt_detector
from maskedge.vision.detectors.cascade import CascadeDetector
from maskedge.vision.detectors.network import STANDALONE_THRESHOLD, CnnDetector

CHECKER = METADATA | {"maskedge.labels": '["with_mask", "without_mask", "not_a_face"]'}


@pytest.fixture
def blind(tmp_path: Path) -> Path:
    """A model without the label `not_a_face`."""
    return write_model(tmp_path / "mine.onnx")


def test_detector_is_chosen_by_the_labels(blind: Path, tmp_path: Path) -> None:
    checker = MaskDetector(write_model(tmp_path / "all.onnx", metadata=CHECKER, outputs=3))
    assert isinstance(checker.detector, CascadeDetector)
    assert checker.detector.min_neighbors == 0
    assert checker.notice is None
    chosen = MaskDetector(blind)
    assert isinstance(chosen.detector, CnnDetector)
    assert chosen.face_threshold == STANDALONE_THRESHOLD
    assert chosen.notice is not None
    for words in ("mine.onnx has no label not_a_face", "network alone", "0.5"):
        assert words in chosen.notice


def test_chosen_detector_is_kept_but_made_precise(blind: Path) -> None:
    cascade = MaskDetector(blind, "haar", min_face_size=40).detector
    assert isinstance(cascade, CascadeDetector)
    assert (cascade.path, cascade.min_face_size) == (MODELS / "haar.xml", 40)
    assert cascade.min_neighbors > 3
    assert isinstance(MaskDetector(blind, "cnn").detector, CnnDetector)
    stock = MaskDetector(blind, "haar-stock").detector
    assert isinstance(stock, CascadeDetector)
    assert stock.min_neighbors == 5

    class Own:
        def detect(self, image: Image) -> list[Box]:
            return []

    own = Own()
    adapted = adapt_detector(own)
    assert adapted.standalone() is adapted
    assert adapt_detector(adapted) is adapted
    assert MaskDetector(blind, own, face_threshold=0.9).face_threshold == 0.9


def test_faces_of_the_clip_are_found_and_little_else(blind: Path) -> None:
    detector = MaskDetector(blind)
    for index in (150, 200, 250):
        found, there = detector(demo.draw(index)), [face for face in demo.truth(index) if face.visible > 0.9]
        assert len(there) - 1 <= len(found) <= len(demo.truth(index))
    random = np.random.default_rng(2)
    assert detector(random.integers(0, 256, (240, 320, 3), np.uint8)) == []


def test_face_that_went_away_is_not_seen_for_ever(blind: Path) -> None:
    detector = MaskDetector(blind, tracking=True)
    assert detector(demo.draw(200))
    wall = np.full((480, 640, 3), 140, np.uint8)
    for _ in range(60):
        faces = detector(wall)
    assert faces == []


def test_run_says_so_in_one_line(invoke, blind: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    events = tmp_path / "events.jsonl"
    done = invoke("edge-run", "--source", "demo", "--model", blind, "--max-frames", "2", "--events", events, "--no-show", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has no label not_a_face") == 1
    assert all("faces" in json.loads(line) for line in events.read_text().splitlines())


def test_inspect_and_verify_say_so(invoke, blind: Path) -> None:  # type: ignore[no-untyped-def]
    done = invoke("edge-export", "inspect", blind)
    assert "mine.onnx has no label not_a_face" in done.stdout
